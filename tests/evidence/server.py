"""`tiny` behind an OpenAI-style endpoint."""

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import numpy as np
import torch
from PIL import Image

from prune.checkpoint.load import LoadedModel
from prune.inputs.prompts import ANSWER_CUE


class Tiny:
    """Answers chat completions; with `silent` it never tells log-probabilities."""

    def __init__(self, opened: LoadedModel, silent: bool = False):
        self.opened, self.silent = opened, silent
        self.generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        processor, tokenizer = self.opened.processor, self.opened.processor.tokenizer
        user, *rest = body["messages"]
        *images, text = user["content"]
        frames = [np.asarray(Image.open(io.BytesIO(base64.b64decode(
            image["image_url"]["url"].partition(",")[2])))) for image in images]  # fmt: skip
        content = [{"type": "video"}, text]
        prompt = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        reply = rest[0]["content"] if rest else ""
        assert bool(reply) == bool(body.get("continue_final_message"))
        ids: list[int] = []
        steps = []
        inputs = processor(text=prompt + ANSWER_CUE + reply, videos=[np.stack(frames)])
        for _ in range(min(body["max_tokens"], 4)):
            logits = self.opened.model(**inputs).logits[0, -1]
            p = logits.double().softmax(-1)
            top = p.topk(body.get("top_logprobs", 1))
            steps.append({"token": tokenizer.decode([int(p.argmax())]), "top_logprobs": [
                {"token": tokenizer.decode([i]), "logprob": float(np.log(v))}
                for v, i in zip(top.values.tolist(), top.indices.tolist(), strict=True)
            ]})  # fmt: skip
            ids.append(int(p.argmax()))
            if body["max_tokens"] > 1:
                more = torch.tensor([[ids[-1]]])
                inputs["input_ids"] = torch.cat([inputs["input_ids"], more], 1)
                inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if body.get("temperature"):
            drawn = torch.multinomial(p, body["n"], True, generator=self.generator).tolist()
            return {"choices": [{"message": {"content": tokenizer.decode([i])}} for i in drawn]}
        text = tokenizer.decode(ids, skip_special_tokens=True)
        choice: dict[str, Any] = {"message": {"content": text}}
        if body.get("logprobs") and not self.silent:
            choice["logprobs"] = {"content": steps}
        return {"choices": [choice]}


@contextmanager
def serving(model: Tiny) -> Iterator[str]:
    """The endpoint's URL while it is up."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps(model.complete(body)).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    finally:
        server.shutdown()
        server.server_close()
