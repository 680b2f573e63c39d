"""Each benchmark's own questions, answer files, judge prompts, verdicts and scores, one module each."""
