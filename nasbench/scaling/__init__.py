"""Scaling: from one design to a family, and what more compute would buy.

Sizes: `rules` say which way a design grows (`rule_search` finds one by training), `resize` and `target` change a
design's size, `family` makes several. Trainings: `study` plans them, `training` runs them, `points` reads them. Laws:
`laws` fits how the error falls, `intervals` and `likelihood` say how sure that is, `family_laws` fits every design of a
study, `heldout` tests a law, `published` holds quoted tables. Use: `comparison`, `isoflop` and `plan`; `objective` and
`crossing` serve a search that ranks designs by extrapolated error. `pictures` says what is drawn, `plots` draws it.
"""
