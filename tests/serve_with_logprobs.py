"""`transformers serve FOLDER PORT` with the first token's log-probs, which 5.23 passes over; one request at a time."""

import sys

import torch
from transformers.cli.serve import Serve
from transformers.cli.serving import chat_completion


class Handler(chat_completion.ChatCompletionHandler):
    """Adds to an answer what the model says of its first token."""

    _unused_fields = chat_completion.UNUSED_CHAT_COMPLETION_FIELDS - {"logprobs", "top_logprobs"}

    async def handle_request(self, body, request_id):
        self.wanted = body.get("top_logprobs") if body.get("logprobs") else None
        return await super().handle_request(body, request_id)

    async def _non_streaming(self, request_id, model, processor, model_id, inputs, *args, **options):
        with torch.no_grad():
            found = model(**inputs).logits[0, -1].log_softmax(-1).topk(self.wanted or 1)
        self.top = [
            {"token": processor.decode(token), "logprob": value, "bytes": None}
            for token, value in zip(found.indices.tolist(), found.values.tolist(), strict=True)
        ]
        return await super()._non_streaming(request_id, model, processor, model_id, inputs, *args, **options)

    def _build_completion(self, *args, **options):
        result = super()._build_completion(*args, **options)
        if self.wanted:
            result["choices"][0]["logprobs"] = {"content": [self.top[0] | {"top_logprobs": self.top}]}
        return result


if __name__ == "__main__":
    chat_completion.ChatCompletionHandler = Handler
    Serve(sys.argv[1], host="127.0.0.1", port=int(sys.argv[2]), device="cpu")
