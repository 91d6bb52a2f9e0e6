"""The text around a video and its questions, as a chat template writes it."""

from dataclasses import dataclass

from prune.inputs.prompts import ANSWER_CUE, choice_text


@dataclass(frozen=True)
class Chat:
    """A chat of one turn.

    Attributes:
        prefix: what stands before the question, with one `<video>`.
        turn: the question's turn and the start of the reply, with `{}` for the question.
        lead: what a reply in words begins with.
    """

    prefix: str
    turn: str
    lead: str

    def open(self, question: str) -> str:
        """A question without options, as it follows the prefix."""
        return self.turn.format(f"Question: {question}")

    def choice(self, question: str, options: list[str]) -> str:
        """A multiple-choice question as it follows the prefix: the next token is the letter."""
        return self.turn.format(choice_text(question, options)) + ANSWER_CUE


SYSTEM = "Watch the video carefully."
VICUNA = Chat(f"{SYSTEM} USER: <video>\n", " USER: {} ASSISTANT:", " ")
VICUNA_TEMPLATE = (
    SYSTEM + "{% for message in messages %}{% if message.role == 'assistant' %} ASSISTANT: "
    "{% for item in message.content %}{{ item.text }}{% endfor %}</s>{% else %}"
    "{% for item in message.content %} USER: {% if item.type == 'video' %}<video>\n{% else %}"
    "{{ item.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
CHATML = Chat(
    f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<video>\n",
    "{}<|im_end|>\n<|im_start|>assistant\n",
    "",
)
CHATML_TEMPLATE = (
    "<|im_start|>system\n" + SYSTEM + "<|im_end|>\n"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for item in message.content %}{% if item.type == 'video' %}<video>\n"
    "{% else %}{{ item.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
