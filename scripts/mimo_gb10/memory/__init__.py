"""Where the memory of a node goes, and how fast a step can be at best.

`setting` says what is planned, `weights` what is loaded, `pools` how SGLang sizes the KV pools, `after` what comes once
they are sized, `plan` puts the four together, `speed` bounds the time of a step. `text` and `svg` show the result;
`public` holds the bounds against figures that others published.

Every number carries where it comes from: see `basis`.
"""
