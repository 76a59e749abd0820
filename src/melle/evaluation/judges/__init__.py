"""Judges: what scores a clip of speech by itself. Recognisers, speaker encoders and predictors of quality."""

from melle.evaluation.judges.base import (
    Judge,
    QualityPredictor,
    Recogniser,
    SpeakerEncoder,
    Transcript,
    similarities,
)

__all__ = ["Judge", "QualityPredictor", "Recogniser", "SpeakerEncoder", "Transcript", "similarities"]
