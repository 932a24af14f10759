"""What the model card says of loading: code for transformers and for vLLM that renders the prompt as training did."""

from __future__ import annotations

from string import Template

from online_rl.config import Config

_TRANSFORMERS = Template("""\
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

folder = "."  # this folder, or its name on the hub
processor = AutoProcessor.from_pretrained(folder$trust)
model = AutoModelForImageTextToText.from_pretrained(folder, dtype="$dtype"$trust)

image = Image.open("image.png").convert("RGB")  # 8 bits; up to $images image(s) of the study, in a list
image.thumbnail(($side, $side), Image.Resampling.LANCZOS)  # the longer side, as in training
prompt = $prompt.replace("{indication}", "cough")
content = [{"type": "image"}, {"type": "text", "text": prompt}]
text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
first = processor.tokenizer("")["input_ids"]
if first and first[0] == processor.tokenizer.bos_token_id:  # the tokenizer adds it as well
    text = text.removeprefix(processor.tokenizer.bos_token)

inputs = processor(text=[text], images=[[image]], return_tensors="pt")
ids = model.generate(**inputs, max_new_tokens=$tokens, do_sample=False)
print(processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])
""")
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


def _values(cfg: Config) -> dict[str, str]:
    return {
        "trust": ", trust_remote_code=True" if cfg.model.trust_remote_code else "",
        "dtype": cfg.model.dtype,
        "images": str(cfg.data.images_per_prompt),
        "side": str(cfg.data.image_max_side),
        "prompt": repr(cfg.data.prompt),
        "tokens": str(cfg.rollout.max_completion_tokens),
        "length": str(cfg.rollout.max_model_len),
    }
