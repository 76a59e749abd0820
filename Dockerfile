# README's commands in a container: docker build -t melle . && docker run --rm -v "$PWD/out:/out" melle
FROM python:3.12-slim

# espeak-ng comes with the Python packages, FFmpeg for prompts in other formats than WAV, FLAC, Ogg and MP3.
RUN apt-get update && apt-get install -y --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/*

WORKDIR /melle
COPY . .
RUN python -m pip install --no-cache-dir -e ".[demo,phonemes,serve]"

# Speaks with the preview; any other command goes in its place:
#   docker run --rm -p 8000:8000 -e MELLE_TOKEN=SECRET melle python -m melle serve --model data/pretrained --host 0.0.0.0
#   docker run --rm --gpus all --shm-size 8g -v "$PWD/runs:/melle/runs" -v "$PWD/data:/melle/data" melle python train.py
CMD ["python", "-m", "melle", "synthesize", "--text", "The kettle has been boiling for an hour.", "--voice", "emma", "-o", "/out/out.wav"]
