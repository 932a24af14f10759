"""Keys of the section `data`: where studies come from, what the policy is shown of them, and what it should write."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from online_rl.config.outside import known
from online_rl.config.section import MOST, Args, Count, Path, Positive, Section
from online_rl.data.layouts import READERS

CHEXALIGN_PROMPT = 'Given the indication: "{indication}", write a structured findings section for the CXR.'


class Data(Section):
    reader: Annotated[Path, known(READERS)] = Field(
        default="demo", description="layout of the data on disk: a name, file.py:function, package.module:function"
    )
    path: Path | None = Field(default=None, description="the file or folder that the reader reads; null for the demo")
    args: Args = Field(default_factory=dict, description="keyword arguments of the reader, such as {encoding: cp1252}")
    columns: dict[str, str] = Field(
        default_factory=dict, description="names of your columns by role, such as {image: xray_file}"
    )
    image_root: Path | None = Field(
        default=None, description="relative image paths start here; null = beside the data file"
    )
    prompt: str = Field(
        default=CHEXALIGN_PROMPT,
        description="what the policy is asked: {column} or {column|if missing} per study, or file.py:function",
    )
    system_prompt: str | None = Field(
        default=None, description="a system turn before it, filled in the same way; null = none"
    )
    prior: Literal["none", "report", "image", "both"] = Field(
        default="none",
        description="of the patient's study before: {prior_report} in the prompt, its first image last, or both",
    )
    section: Literal["findings", "impression", "both"] = Field(
        default="findings", description="which section is the reference report"
    )
    report_format: str = Field(
        default="FINDINGS: {findings}\nIMPRESSION: {impression}", description="section=both: how both become one text"
    )
    clean: list[Literal["addenda", "headings", "numbers", "unwrap", "deidentified", "drop_comparisons"]] = Field(
        default_factory=list, description="what is cleaned out of reference reports (docs/data.md); [] = nothing"
    )
    where: dict[str, Any] = Field(
        default_factory=dict,
        description="training studies that are used, such as {view: [PA, AP], images: [1, 2], words: [5, 150]}",
    )
    max_images: Positive = Field(
        default=2, description="images per study in the row's order; further ones are left out"
    )
    image_max_side: int = Field(
        default=1024, ge=8, le=MOST, description="longer side in pixels after loading; larger images are shrunk"
    )
    image_cache: Path | None = Field(
        default=None, description="folder for shrunken copies of images, which are decoded once; null = none"
    )
    study_cache: Path | None = Field(
        default=None, description="folder for what was read of the data, so that later starts are quick; null = none"
    )
    max_train_studies: Positive | None = Field(default=None, description="train on the first N studies; null = all")
    sampling: Literal["shuffled", "stratified"] = Field(
        default="shuffled", description="every training study once per epoch, or those with rare findings more often"
    )
    flat_weight: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="how often a study comes in the epoch after a group that taught nothing; doubles with each epoch",
    )
    eval_fraction: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="part of the patients held out where rows carry no split (by hash of the patient)",
    )
    confidential: bool = Field(
        default=False, description="credentialed data: no text or image leaves this machine and private networks"
    )
    bad_images_budget: Count = Field(
        default=0, description="studies that may be set aside for unreadable images; 0 = stop"
    )

    @property
    def images_per_prompt(self) -> int:
        """The most images that a prompt can hold: the study's own, and one of the study before."""
        return self.max_images + (self.prior in ("image", "both"))
