"""Train wordpiece.json anew, on the sentences that pretraining reads and the words of the labelled tasks.

The trainer breaks ties in another order on every run, so the result is kept. Its words are those of entities.json, whose
licence it shares.
"""

import tokenizers

from transpec.spec_tests.runs import sentences

VOCABULARY = 1800

if __name__ == "__main__":
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token=sentences.SPECIAL[sentences.UNKNOWN]))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=list(sentences.SPECIAL))
    read = [each.text for paragraph in sentences.corpus().read for each in paragraph]
    asked = [*(text for texts in sentences.NEUTRAL.values() for text in texts), *sentences.QUESTIONS]
    made.train_from_iterator(
        [*read, *(text.replace("{", "").replace("}", "") for text in asked for _ in range(9))], trainer
    )
    made.save(str(sentences.DATA / "wordpiece.json"), pretty=False)
