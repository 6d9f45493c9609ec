"""The draft worker of multi-layer EAGLE without CUDA graphs: is each step planned, and has each request its row.

``_draft_extend_for_decode`` and ``__init__`` of the release run; the draft models are stand-ins that look at the
metadata of their own attention backend, a real one, when they are called.
"""

import contextlib
import json
import sys
import types
from unittest import mock

import torch
from mtp_window import CONTEXT, DRAFT_TOKENS, MOST_REQUESTS, STEPS, Pool, configured, make_backend
from settings import Settings
from sglang.srt.mem_cache.memory_pool import ReqToTokenPool
from sglang.srt.model_executor.forward_batch_info import ForwardMode
from sglang.srt.speculative import multi_layer_eagle_worker_v2 as worker

PREFILL, REQUESTS, VOCABULARY = 200, 2, 11


def plan(backend, mode, prefixes, extends, **more):
    forward = Settings(
        forward_mode=mode, batch_size=len(prefixes), req_pool_indices=torch.arange(1, len(prefixes) + 1),
        seq_lens=torch.tensor(prefixes) + torch.tensor(extends), seq_lens_sum=sum(prefixes) + sum(extends),
        extend_prefix_lens=torch.tensor(prefixes, dtype=torch.int32), extend_prefix_lens_cpu=prefixes,
        extend_seq_lens=torch.tensor(extends, dtype=torch.int32), extend_seq_lens_cpu=extends,
        input_ids=torch.zeros(sum(extends), dtype=torch.int64), **more,
    )  # fmt: skip
    backend.init_forward_metadata(forward)
    return forward


class DraftModel:
    """One MTP layer's runner: what its backend would read is noted when it is called."""

    def __init__(self, backend):
        self.attn_backend, self.req_to_token_pool, self.token_to_kv_pool = backend, None, None
        self.planned_rows = None

    def forward(self, forward_batch, **options):
        self.planned_rows = int(self.attn_backend.forward_metadata.qo_indptr[-1])
        logits = torch.zeros(forward_batch.input_ids.shape[0], VOCABULARY)
        return Settings(logits_output=Settings(next_token_logits=logits, hidden_states=None))


def decode_step():
    """Rows that each step's backend is planned for in a decode step that follows a prefill."""
    with configured(), contextlib.ExitStack() as stack:
        pool = Pool(torch.float32)
        req_to_token = torch.ones(MOST_REQUESTS + 1, CONTEXT, dtype=torch.int32)
        models = [DraftModel(make_backend(pool, req_to_token)) for _ in range(STEPS)]
        for model in models:
            plan(model.attn_backend, ForwardMode.EXTEND, [0], [PREFILL])

        def prepare(*arguments):
            return plan(
                models[0].attn_backend, ForwardMode.DRAFT_EXTEND_V2, [PREFILL] * REQUESTS, [DRAFT_TOKENS] * REQUESTS,
                extend_start_loc=torch.arange(REQUESTS, dtype=torch.int32) * DRAFT_TOKENS, spec_info=Settings(),
                mark_forward_metadata_ready=lambda **options: None,
            )  # fmt: skip

        for name in ("EagleDraftInput", "EagleDraftExtendInput"):
            if hasattr(worker, name):
                stand_in = type(name, (Settings,), {"prepare_for_extend_to_fill_draft_kvcache": prepare})
                stack.enter_context(mock.patch.object(worker, name, stand_in))
        # Triton kernels are not under test here.
        for name in ("rotate_input_ids_triton", "rotate_input_ids"):
            if hasattr(worker, name):
                stack.enter_context(mock.patch.object(worker, name, nothing))
        draft = Settings(
            plan_stream_ctx=contextlib.nullcontext(), speculative_num_steps=STEPS, topk=1, device="cpu",
            speculative_num_draft_tokens=DRAFT_TOKENS, draft_runner_list=models, prepare_for_draft_extend=prepare,
            server_args=Settings(),
        )  # fmt: skip
        result = Settings(
            logits_output=Settings(hidden_states=torch.zeros(REQUESTS * DRAFT_TOKENS, 8)),
            next_token_ids=torch.zeros(REQUESTS * DRAFT_TOKENS, dtype=torch.int64),
            accept_lens=torch.ones(REQUESTS, dtype=torch.int64), next_draft_input=types.SimpleNamespace(),
        )  # fmt: skip
        worker.MultiLayerEagleDraftWorker._draft_extend_for_decode(
            draft, Settings(seq_lens=torch.tensor([PREFILL] * REQUESTS)), result
        )
    return [model.planned_rows for model in models]


def nothing(*arguments):
    """Stands for calls whose effect is not looked at."""


def hidden_state_rows():
    """Rows of the pool that is indexed by request, and the highest index that a request can have."""
    requests = ReqToTokenPool(MOST_REQUESTS, 16, "cpu", False)
    models = [
        Settings(server_args=Settings(), model=Settings(set_embed_and_head=nothing), req_to_token_pool=requests)
        for _ in range(STEPS)
    ]
    config = Settings(hidden_size=8, dtype=torch.float32, hf_config=Settings(architectures=["MiMoV2MTP"]))
    target = Settings(
        get_memory_pool=lambda: (requests, None), model_config=config,
        model_runner=Settings(model=Settings(get_embed_and_head=lambda: (None, None))),
    )  # fmt: skip
    arguments = Settings(
        device="cpu", speculative_eagle_topk=1, speculative_num_steps=STEPS,
        speculative_num_draft_tokens=DRAFT_TOKENS, speculative_algorithm="EAGLE", disable_cuda_graph=True,
    )  # fmt: skip
    draft = Settings(model_runner_list=models, model_config=config)
    factory = Settings(create_draft_extend_backend=nothing)
    with (
        mock.patch.object(worker, "TpModelWorker", return_value=draft),
        mock.patch.object(worker, "DraftBackendFactory", return_value=factory),
        mock.patch.object(worker, "speculative_moe_backend_context", contextlib.nullcontext),
    ):
        made = worker.MultiLayerEagleDraftWorker(arguments, 0, 0, None, 0, 0, 0, 0, target)
    return {"rows": made.req_to_hidden_states_pool.shape[0], "highest": max(requests.free_slots)}


def main():
    found = {"planned": decode_step(), "rows": REQUESTS * DRAFT_TOKENS}
    if "pool" in sys.argv[1:]:
        found["pool"] = hidden_state_rows()
    print(json.dumps(found))


main()
