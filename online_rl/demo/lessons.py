"""What a demo policy is taught to see: drawn studies at its own image size, with a map of where each finding shows."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from online_rl.demo.pathology import DEVICES, LUNG_FINDINGS
from online_rl.demo.policy import IMAGE_SIDE, PATCH
from online_rl.demo.rendering import render
from online_rl.demo.world import Plan

NAMES = (*LUNG_FINDINGS, *DEVICES)
SHOWS = 20.0  # grey levels by which a finding changes a patch, on average, when it shows there fully


def draw_lessons(
    plans: Sequence[Plan], workers: int = 1, progress: Any = lambda done, of: None
) -> tuple[np.ndarray, np.ndarray]:
    """Films (S, side, side) uint8 as the policy's processor shrinks them, and maps (S, patches, names) uint8, 0 to 255.

    The result does not depend on the number of processes.
    """
    if workers == 1:
        drawn = []
        for plan in plans:
            drawn.append(draw_lesson(plan))
            progress(len(drawn), len(plans))
    else:
        method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method)) as pool:
            drawn = []
            for lesson in pool.map(draw_lesson, plans, chunksize=16):
                drawn.append(lesson)
                progress(len(drawn), len(plans))
    return np.stack([film for film, _ in drawn]), np.stack([places for _, places in drawn])


def draw_lesson(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """One study's film (side, side) and map (patches, names): how much each finding alone changes each patch."""
    film = shrink(render(plan.body, plan.findings))
    places = np.zeros(((IMAGE_SIDE // PATCH) ** 2, len(NAMES)), np.uint8)
    if plan.findings:
        healthy = shrink(render(plan.body, ())).astype(float)
        for finding in plan.findings:
            alone = film if len(plan.findings) == 1 else shrink(render(plan.body, (finding,)))
            change = np.abs(alone - healthy).reshape(IMAGE_SIDE // PATCH, PATCH, IMAGE_SIDE // PATCH, PATCH)
            shown = np.clip(change.mean((1, 3)).ravel() / SHOWS, 0, 1)
            places[:, NAMES.index(finding.name)] = np.round(255 * shown)
    return film, places


def shrink(film: np.ndarray) -> np.ndarray:
    """The film at the policy's image size, as its image processor makes it."""
    return np.asarray(Image.fromarray(film).resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.LANCZOS))
