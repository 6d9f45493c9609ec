"""A tiny checkpoint of MiMo-V2.5's architecture with random weights, which SGLang's own loader reads as it is.

`shape` shrinks the real model's dimensions, `layout` lists every tensor, `weights` fills them, `config` and `tokenizer`
make the other files. `make` writes a folder, `validate` judges one without torch.
"""
