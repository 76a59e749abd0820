"""Synthetic English: sentences from a small grammar and a lexicon, in many voices of espeak-ng."""
