"""What the model card says of loading: code for transformers and for vLLM that renders the prompt as training did."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template

from judges.objects import last_word
from online_rl.config import Config
from online_rl.data.columns import plain_name
from online_rl.data.prompt import is_function, placeholders, study_prompt
from online_rl.data.study import Study
from online_rl.errors import UserError

INDICATION = "cough"  # of the example
_TRANSFORMERS = Template("""\
import re

from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

folder = "."  # this folder, or its name on the hub
processor = AutoProcessor.from_pretrained(folder$trust)
model = AutoModelForImageTextToText.from_pretrained(folder, dtype="$dtype"$trust)

image = Image.open("image.png").convert("RGB")  # 8 bits; up to $images image(s) of the study, in a list
image.thumbnail(($side, $side), Image.Resampling.LANCZOS)  # the longer side, as in training
$turns
text = processor.apply_chat_template(turns, add_generation_prompt=True)
first = processor.tokenizer("")["input_ids"]
if first and first[0] == processor.tokenizer.bos_token_id:  # the tokenizer adds it as well
    text = text.removeprefix(processor.tokenizer.bos_token)

inputs = processor(text=[text], images=[[image]], return_tensors="pt")
ids = model.generate(**inputs, max_new_tokens=$tokens, do_sample=False)
print(processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])
""")
_FILL = """\
study = %s  # each on one line; "" if it is missing


def fill(template):
    return re.sub(r"\\{(\\w+)(?:\\|([^{}]*))?\\}", lambda place: study.get(place[1]) or place[2] or "", template)

"""
_VLLM = Template("""\
from vllm import LLM, SamplingParams

llm = LLM(folder, dtype="$dtype", max_model_len=$length, limit_mm_per_prompt={"image": $images}$trust)
asked = {"prompt": text, "multi_modal_data": {"image": [image]}}
print(llm.generate([asked], SamplingParams(temperature=0, max_tokens=$tokens))[0].outputs[0].text)
""")


def transformers_code(cfg: Config) -> str:
    """Python that loads the folder by transformers and prints a greedy report of image.png."""
    return _TRANSFORMERS.substitute(_values(cfg))


def vllm_code(cfg: Config) -> str:
    """Python that continues `transformers_code` up to its `text` and prints the same report by vLLM."""
    return _VLLM.substitute(_values(cfg))


def loading_section(cfg: Config) -> str:
    """Both, in Markdown."""
    return (
        f"By transformers:\n\n```python\n{transformers_code(cfg)}```\n\nBy vLLM, with `folder`, `image` and `text` "
        f"from above:\n\n```python\n{vllm_code(cfg)}```"
    )


def function_named(use: str) -> str:
    """A function of the user's without the folders of its path, which are nobody's business.

    >>> function_named("/home/someone/prompts.py:ask")
    'ask of prompts.py'
    """
    return f"{last_word(use)} of {Path(use.strip().rpartition(':')[0]).name}"


def _values(cfg: Config) -> dict[str, str]:
    return {
        "trust": ", trust_remote_code=True" if cfg.model.trust_remote_code else "",
        "dtype": cfg.model.dtype,
        "images": str(cfg.data.images_per_prompt),
        "side": str(cfg.data.image_max_side),
        "turns": "\n".join([*_fill(cfg), *_turns(cfg)]),
        "tokens": str(cfg.rollout.max_completion_tokens),
        "length": str(cfg.rollout.max_model_len),
    }


def _fill(cfg: Config) -> list[str]:
    """Lines that fill in a template, from a value for every name that the run's own ask for, if it has one."""
    templates = [text for text in (cfg.data.prompt, cfg.data.system_prompt) if text and not is_function(text)]
    names = [name for template in templates for name in placeholders(template)]
    values = {name: INDICATION if plain_name(name) == "indication" else "" for name in names}
    return [_FILL % json.dumps(values, ensure_ascii=False)] if templates else []


def _turns(cfg: Config) -> list[str]:
    """Lines that set `turns`: what the user says, behind the system's turn if there is one."""
    user = '{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}'
    lines = [*_text("prompt", cfg.data.prompt), f"turns = [{user}]"]
    if cfg.data.system_prompt is not None:
        lines += _text("system", cfg.data.system_prompt)
        lines += ['turns.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})']
    return lines


def _text(variable: str, template: str) -> list[str]:
    """Lines that set a variable to the text of a template, or to what the user's function makes of an example."""
    if not is_function(template):
        return [f"{variable} = fill({template!r})"]
    said = f"# In training {function_named(template)}, a function, wrote it from the study"
    try:
        text = study_prompt(template, Study("example", "", ("image.png",), INDICATION, ""))
    except UserError:  # it needs more of a study, or is not at hand
        return [f"{said}.", f'{variable} = "what it makes of your study"']
    return [f"{said}; of one with the indication {INDICATION!r} alone it makes:", f"{variable} = {text!r}"]
