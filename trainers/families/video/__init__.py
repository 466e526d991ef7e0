"""Clips: a content that stays and a motion that goes on, judged by single frames and by several at once."""
