"""Conversations as transformers' apply_chat_template gives them: text, ids and what is trained."""

import json
import pathlib
import random
import struct
import tempfile
import unittest

import support
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from tokenizer_test import corpus, random_texts, trained_by_tokenizers

# As published with the models: ChatML, Llama-3-8B-Instruct, Mistral-7B-Instruct-v0.2, zephyr-7b-beta.
TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
              "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}",
    "llama3": "{% set loop_messages = messages %}{% for message in loop_messages %}"
              "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
              "+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
              "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}",
    "mistral": "{%- if messages[0]['role'] == 'system' %}"
               "{%- set system_message = messages[0]['content'] %}"
               "{%- set loop_messages = messages[1:] %}{%- else %}"
               "{%- set loop_messages = messages %}{%- endif %}{{- bos_token }}"
               "{%- for message in loop_messages %}{%- if message['role'] == 'user' %}"
               "{%- if loop.first and system_message is defined %}"
               "{{- ' [INST] ' + system_message + '\n\n' + message['content'] + ' [/INST]' }}"
               "{%- else %}{{- ' [INST] ' + message['content'] + ' [/INST]' }}{%- endif %}"
               "{%- elif message['role'] == 'assistant' %}"
               "{{- ' ' + message['content'] + eos_token}}{%- endif %}{%- endfor %}",
    "zephyr": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
              "{{ '<|user|>\n' + message['content'] + eos_token }}\n"
              "{% elif message['role'] == 'system' %}\n"
              "{{ '<|system|>\n' + message['content'] + eos_token }}\n"
              "{% elif message['role'] == 'assistant' %}\n"
              "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
              "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n"
              "{% endfor %}",
}
SPECIAL = {
    "chatml": ["<|im_start|>", "<|im_end|>"],
    "llama3": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "mistral": ["<s>", "</s>"],  # [INST] is text, as in the model
    "zephyr": ["</s>"],
}
BEGIN_AND_END = {"chatml": (None, "<|im_end|>"), "llama3": ("<|begin_of_text|>", "<|eot_id|>"),
                 "mistral": ("<s>", "</s>"), "zephyr": (None, "</s>")}


def conversations(seed):
    draw = random.Random(seed)
    texts = [text for text in random_texts(150, seed) if "<|" not in text and "\x00" not in text]
    talks = []
    for _ in range(60):
        talk = [{"role": "system", "content": draw.choice(texts)}] if draw.random() < 0.5 else []
        for _ in range(draw.randint(1, 3)):
            talk += [{"role": role, "content": draw.choice(texts)}
                     for role in ("user", "assistant")]
        talks.append(talk)
    return talks


def documents(prefix):
    index = pathlib.Path(f"{prefix}.idx").read_bytes()
    code, sequences, _ = struct.unpack_from("<BQQ", index, 17)
    lengths = struct.unpack_from(f"<{sequences}i", index, 34)
    tokens = pathlib.Path(f"{prefix}.bin").read_bytes()
    ids = struct.unpack(f"<{len(tokens) // (2 if code == 8 else 4)}{'H' if code == 8 else 'i'}",
                        tokens)
    mask = pathlib.Path(f"{prefix}.loss").read_bytes()[8:]
    at = 0
    for length in lengths:
        trained = [mask[t // 8] >> t % 8 & 1 for t in range(at, at + length)]
        yield list(ids[at:at + length]), trained
        at += length


class Chat(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = pathlib.Path(directory.name)

    def test_templates(self):
        for name, template in TEMPLATES.items():
            with self.subTest(name):
                self.check(name, template)

    def check(self, name, template):
        path = self.work / f"{name}.json"
        trained_by_tokenizers("gpt2", corpus(5), path)
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in SPECIAL[name]])
        tokenizer.save(str(path))
        begin, end = BEGIN_AND_END[name]
        theirs = PreTrainedTokenizerFast(tokenizer_file=str(path), bos_token=begin, eos_token=end,
                                         chat_template=template)
        talks = conversations(11)
        lines = "".join(json.dumps({"messages": talk}) + "\n" for talk in talks)
        (self.work / "talk.jsonl").write_text(lines)
        support.run("bessemer", "data", "build", "--out", self.work / name, "--tokenizer", path,
                    "--template", name, self.work / "talk.jsonl")
        ours = list(documents(self.work / name / "talk"))
        self.assertEqual(len(ours), len(talks))
        for talk, (ids, trained) in zip(talks, ours):
            text = theirs.apply_chat_template(talk, tokenize=False)
            expected = theirs(text, add_special_tokens=False)["input_ids"]
            self.assertEqual(ids[:-1], expected, repr(text))
            # The end-of-text token behind it, and what nobody says, is not trained.
            self.assertEqual(trained[-1], 0)
            said = sum(message["role"] == "assistant" for message in talk)
            end_id = theirs.convert_tokens_to_ids(end)
            ends = [t for i, t in zip(ids, trained) if i == end_id]
            self.assertEqual(sum(ends), said)


if __name__ == "__main__":
    unittest.main()
