"""Our own vocoder, a small Vocos (Siuzdak 2024, arXiv 2306.00814): its network, how it is trained, how it speaks."""
