"""The names of what evaluations report beside rewards; docs/watching.md says what each is."""

FINDINGS = (
    "findings/f1",
    "findings/f1_macro",
    "findings/precision",
    "findings/recall",
    "findings/none_share",
    "findings/none_share_reference",
    "findings/silent_on_abnormal",
    "findings/unread_references",
    "findings/f1/<finding>",
)
LABELS = (
    "labels/f1",
    "labels/f1_macro",
    "labels/precision",
    "labels/recall",
    "labels/none_share",
    "labels/none_share_reference",
    "labels/silent_on_abnormal",
    "labels/unknown_sentences",
    "labels/f1/<finding>",
)
DIVERSITY = (
    "diversity/distinct",
    "diversity/largest_cluster",
    "diversity/distinct_abnormal",
    "diversity/largest_cluster_abnormal",
)
IMAGE = (
    "image/gain_f1",
    "image/gain_f1_low",
    "image/gain_f1_high",
    "image/gain_reward",
    "image/f1_wrong",
    "image/gain_logp",
    "image/left_out",
)
COMPARED = ("findings/lost",)  # with the first evaluation
ALARMS = ("alarms/nothing_present", "alarms/recall", "alarms/same_report", "alarms/image")
