"""What the judges see of a candidate: both reports as they are, and both cleaned in the same way."""

from __future__ import annotations

from judges.base import Case
from judges.text import clean_statements
from online_rl.data.study import Study


def make_case(study: Study, text: str, prompt: str, ids: tuple[int, ...]) -> Case:
    """Put a candidate beside its study.

    text    the candidate as sampled
    prompt  as the policy was given it
    ids     the candidate's token ids
    """
    return Case(
        study_id=study.study_id,
        candidate=clean_statements(text),
        reference=clean_statements(study.reference),
        indication=study.indication,
        images=study.images,
        prompt=prompt,
        completion_ids=ids,
        columns=study.columns,
        raw_candidate=text,
        raw_reference=study.reference,
    )
