"""The greedy text of a receipt, judged by the reference: argument 1 is the receipt, 2 a folder for the tiny model."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

from mimo_gb10.rehearsal.checkpoint.make import make_checkpoint
from mimo_gb10.rehearsal.checks.compare import Beside, beside
from mimo_gb10.rehearsal.checks.greedy import Greedy
from mimo_gb10.rehearsal.receipt import model_digest
from mimo_gb10.rehearsal.reference import Reference

receipt = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
made = make_checkpoint(Path(sys.argv[2]), receipt["model"]["tensor_parallel"], receipt["model"]["seed"])
reference = Reference(made.folder, activations="fp8", kv="fp8", rounding="bf16")
found = Beside()
for base in Greedy.from_dict(receipt["greedy"]).continuations:
    rows = reference.logprobs((*base.prompt, *base.tokens), [len(base.prompt)])[len(base.prompt) - 1 :].tolist()
    found += beside(base, rows)
print(json.dumps({"model": model_digest(made.files), "problems": found.problems(), **found.numbers()}))
