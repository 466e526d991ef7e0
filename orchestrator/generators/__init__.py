"""What trained generators are used for: samples, translations, labelled data, answers over HTTP."""
