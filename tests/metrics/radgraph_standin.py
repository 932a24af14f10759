"""Write a tiny random RadGraph: `python radgraph_standin.py MODEL ENCODER`, in the environment of the metrics.

RadEval's own class makes the model, so that its weights have the names and shapes which it will ask for.
"""

import json
import sys
from pathlib import Path

import torch

from judges.radeval.scorers import find_radgraph
from judges.radeval.weights import RADGRAPH_VERSION, folder

model, encoder = sys.argv[1:]
home = Path(folder("radgraph")) / RADGRAPH_VERSION / model
(home / "vocabulary").mkdir(parents=True)
dataset = model
labels = {
    "ner_labels": [
        "",
        "Anatomy::definitely present",
        "Observation::definitely present",
        "Observation::definitely absent",
    ],
    "relation_labels": ["", "modify", "located_at"],
}
for name, values in labels.items():
    (home / "vocabulary" / f"{dataset}__{name}.txt").write_text("\n".join(values))
(home / "vocabulary" / "non_padded_namespaces.txt").write_text("*labels\n*tags")
bert = {"model_name": encoder, "max_length": 128}
config = {
    "dataset_reader": {"max_span_width": 4, "token_indexers": {"bert": bert}},
    "model": {
        "type": "dygie",
        "embedder": {"token_embedders": {"bert": bert}},
        "initializer": {},
        "module_initializer": {},
        "feature_size": 4,
        "max_span_width": 4,
        "target_task": "relation",
        "feedforward_params": {"num_layers": 1, "hidden_dims": 16, "dropout": 0.0},
        "loss_weights": {"ner": 1.0, "relation": 1.0, "coref": 0.0, "events": 0.0},
        "modules": {
            "coref": {"spans_per_word": 0.3, "max_antecedents": 10},
            "ner": {},
            "relation": {"spans_per_word": 0.5},
            "events": {"trigger_spans_per_word": 0.3, "argument_spans_per_word": 0.8, "loss_weights": {}},
        },
    },
}
(home / "config.json").write_text(json.dumps(config))

find_radgraph()
from radeval.metrics.radgraph import RadGraph  # noqa: E402 - found from here on

torch.manual_seed(7)
load = torch.load
torch.load = lambda *_, **__: {}  # there are no weights yet
torch.nn.Module.load_state_dict = lambda self, *_, **__: torch.save(self.state_dict(), home / "weights.th")
RadGraph(model_type=model)
