"""The routes: what is asked is answered for its own text, and everything else is refused in a sentence."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from serving_stubs import LABELS, NUMBER, PAIRS, SEVERAL, Stub, asked, client, shares_of

from understudy.deploy.serve.limits import TOKEN, Limits, known_token
from understudy.errors import ConfigError, ModelError


async def predicted(found: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """The answer to a question that is in order."""
    answer = await found.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def refused(found: httpx.AsyncClient, status: int, **body: Any) -> str:
    """The sentences of a refusal."""
    answer = await found.post("/predict", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return "\n".join(answer.json()["detail"])


def test_one_text_and_many() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        told = await predicted(found, text="naïve 映画")
        assert told["model"] == "stub"
        assert told["predictions"] == [
            {"label": max(LABELS, key=shares_of("naïve 映画").__getitem__), "probabilities": shares_of("naïve 映画")}
        ]
        assert told["computed_ms"] >= 0
        assert told["waited_ms"] >= 0
        texts = [f"text {i}" for i in range(100)]
        many = await predicted(found, texts=texts)
        assert [answer["probabilities"] for answer in many["predictions"]] == list(map(shares_of, texts))
        assert (await predicted(found, texts=[]))["predictions"] == []
        assert (await predicted(found, text=""))["predictions"][0]["probabilities"] == shares_of("")

    asked(talk)


def test_pairs_numbers_and_several_labels() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        (one,) = (await predicted(found, text=["a", "b"]))["predictions"]
        assert one["probabilities"] == shares_of(("a", "b"))
        many = await predicted(found, texts=[["a", "b"], ["c", "d"]], model="pairs")
        assert [answer["probabilities"] for answer in many["predictions"]] == [
            shares_of(("a", "b")),
            shares_of(("c", "d")),
        ]
        assert await predicted(found, text="x", model="number") | {"waited_ms": 0, "computed_ms": 0} == {
            "model": "number",
            "predictions": [{"label": shares_of("x")["bad"]}],
            "waited_ms": 0,
            "computed_ms": 0,
        }
        (several,) = (await predicted(found, text="x", model="several"))["predictions"]
        assert several["label"] == [label for label, share in shares_of("x").items() if share > 0.3]
        assert "text must be a list of two strings: this model reads pairs" in await refused(found, 422, text="one")
        wrong = await refused(found, 422, texts=["fine", ["a", "b"]], model="number")
        assert wrong == "texts[1] must be a string: this model reads single texts."
        assert "top_k is given, but this model answers with a number" in await refused(
            found, 422, text="x", model="number", top_k=1
        )

    asked(talk, {"pairs": Stub(PAIRS), "number": Stub(NUMBER), "several": Stub(SEVERAL)})


def test_fewer_probabilities() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        shares = shares_of("x")
        (two,) = (await predicted(found, text="x", top_k=2))["predictions"]
        assert list(two["probabilities"].items()) == sorted(shares.items(), key=lambda item: -item[1])[:2]
        assert (await predicted(found, text="x", top_k=99))["predictions"][0]["probabilities"] == shares
        assert "probabilities" not in (await predicted(found, text="x", probabilities=False))["predictions"][0]
        assert "probabilities is false" in await refused(found, 422, text="x", probabilities=False, top_k=1)

    asked(talk)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({}, 422, "give text or texts, but none was given"),
        ({"text": "a", "texts": ["b"]}, 422, "give text or texts, but both were given"),
        ({"text": 3}, 422, "text must be a string, or a list of two strings for a pair"),
        ({"text": ["a"]}, 422, "text must be a string, or a list of two strings for a pair"),
        ({"text": None}, 422, "text must be a string"),
        ({"texts": "abc"}, 422, "texts must be a list. For a single text there is `text`."),
        (
            {"texts": ["a", 1, None]},
            422,
            "texts[1] must be a string, or a list of two strings for a pair.\ntexts[2] must",
        ),
        ({"texts": [1] * 9}, 422, "There are 4 more faults."),
        (
            {"text": "a", "model": "stubb"},
            404,
            "model is 'stubb', but served are 'stub', 'pairs'. Did you mean 'stub'?",
        ),
        ({"text": "a", "model": 1}, 422, "model: Input should be a valid string."),
        ({"text": "a", "top_k": 0}, 422, "top_k: Input should be greater than or equal to 1."),
        ({"text": "a", "top_k": True}, 422, "top_k: "),
        ({"text": "a", "threshold": 1}, 422, "'threshold' is not known here"),
        ({"texts": ["a"] * 11}, 422, "texts holds 11 texts, but may hold 10. Send them in several calls."),
        ({"texts": ["a", "b" * 21]}, 422, "texts[1] has 21 characters, but may have 20. Cut it."),
        ({"text": ["a", "b" * 21], "model": "pairs"}, 422, "text has 21 characters"),
    ],
)
def test_what_is_wrong_is_said(body: dict[str, Any], status: int, sentence: str) -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        assert sentence in await refused(found, status, **body)
        await predicted(found, text="and it goes on")

    models = {"stub": Stub(), "pairs": Stub(PAIRS)}
    asked(talk, models, limits=Limits(max_texts=10, max_chars=20))


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"{", 422, "the body is not JSON: EOF"),
        (b"", 422, "the body is not JSON"),
        (b'{"text": "\xff\xfe"}', 422, "the body is not JSON: invalid unicode code point"),
        (b'{"text": "\\ud800"}', 422, "the body is not JSON: unexpected end of hex escape"),
        (b"[1, 2]", 422, "the body must be a JSON object"),
        (b"[" * 100_000, 422, "the body is not JSON: recursion limit exceeded"),
        (
            b'{"text": "' + b"a" * 300_000 + b'"}',
            413,
            "the body has 300,012 bytes or more, but must have 200,000 at most",
        ),
    ],
)
def test_bodies_that_are_no_question(content: bytes, status: int, sentence: str) -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        kind = {"Content-Type": "application/json"}
        answer = await found.post("/predict", content=content, headers=kind)
        assert answer.status_code == status, answer.text
        assert sentence in " ".join(answer.json()["detail"])

        async def pieces() -> Any:
            yield content

        assert (await found.post("/predict", content=pieces(), headers=kind)).status_code == status
        await predicted(found, text="and it goes on")

    asked(talk, limits=Limits(max_body_mb=0.2))


def test_another_type_is_refused_because_any_page_could_send_it() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = await found.post("/predict", content=b'{"text": "a"}', headers={"Content-Type": kind})
            assert answer.status_code == 415
            assert "Content-Type must be application/json" in answer.json()["detail"][0]
        kind = "application/json; charset=utf-8"
        assert (
            await found.post("/predict", content=b'{"text": "a"}', headers={"Content-Type": kind})
        ).status_code == 200

    asked(talk)


def test_other_paths_and_methods() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        missing = await found.get("/nowhere")
        assert missing.status_code == 404
        assert missing.json()["detail"] == ["GET '/nowhere': Not Found. /openapi.json lists what there is."]
        wrong = await found.get("/predict")
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "POST"

    asked(talk)


def test_a_model_that_fails_is_said_and_fails_nobody_else() -> None:
    said: list[object] = []

    async def talk(found: httpx.AsyncClient) -> None:
        both = await asyncio.gather(
            *(found.post("/predict", json={"text": text}) for text in ("fail", "one", "two", "three"))
        )
        assert [answer.status_code for answer in both] == [500, 200, 200, 200]
        assert both[0].json()["detail"] == ["the model failed with ZeroDivisionError. The server's log says where."]
        for text, answer in zip(("one", "two", "three"), both[1:]):
            assert answer.json()["predictions"][0]["probabilities"] == shares_of(text)

    asked(talk, say=said.append)
    assert "as it was told to" in str(said[0])


def test_too_much_is_refused_with_the_time_to_try_again() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        model.gate.clear()
        first = asyncio.create_task(found.post("/predict", json={"text": "0"}))
        while not (waiting := asyncio.all_tasks()) or stub_waits():
            await asyncio.sleep(0.001)
        queued = [asyncio.create_task(found.post("/predict", json={"texts": ["a"] * 5})) for _ in range(4)]
        done, rest = await asyncio.wait(queued, return_when=asyncio.FIRST_COMPLETED)
        assert waiting
        for task in done:
            answer = task.result()
            assert answer.status_code == 503
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert "texts wait, and at most 10 may. Try again in" in answer.json()["detail"][0]
        model.gate.set()
        assert (await first).status_code == 200
        statuses = sorted([task.result().status_code for task in done] + [(await task).status_code for task in rest])
        assert statuses == [200, 200, 503, 503]
        assert (await found.post("/predict", json={"texts": ["a"] * 10})).status_code == 200

    def stub_waits() -> bool:
        return not model.held

    class Held(Stub):
        """Says when it is held up."""

        held = False

        def predict(self, texts: Any) -> Any:
            """As its base."""
            self.held = not self.gate.is_set()
            return super().predict(texts)

    model = Held()
    asked(talk, {"stub": model}, limits=Limits(max_queue=10, max_texts=10))


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        model.gate.clear()
        answer = await found.post("/predict", json={"texts": ["a"] * 100})
        assert answer.status_code == 503
        assert "longer than 0.05 seconds" in answer.json()["detail"][0]
        assert answer.headers["retry-after"] == "60"
        model.gate.set()

    model = Stub()
    asked(talk, {"stub": model}, limits=Limits(answer_seconds=0.05))
    assert sum(map(len, model.batches)) <= 1 + 32 + 32, "what nobody waits for is not computed"


def test_a_token_is_taken_without_the_line_end_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "secret\n")
    assert known_token(None) == "secret"
    assert known_token("of the flag") == "of the flag"
    monkeypatch.setenv(TOKEN, "\n")
    with pytest.raises(ConfigError, match=f"{TOKEN} is empty"):
        known_token(None)
    with pytest.raises(ConfigError, match="--token is empty"):
        known_token("")
    monkeypatch.delenv(TOKEN)
    assert known_token(None) is None


def test_the_token_is_asked_for_everywhere_but_at_the_health() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        paths = ["/", "/playground.js", "/models", "/metrics", "/openapi.json", "/nowhere"]
        for path in paths:
            answer = await found.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Basic realm=")
            assert answer.json()["detail"] == [
                "this server asks for its token. Send the header Authorization: Bearer TOKEN."
            ]
        assert (await found.post("/predict", json={"text": "a"})).status_code == 401
        assert (await found.get("/health")).status_code == 200
        basic = base64.b64encode("anyone:geheim-ß".encode()).decode()
        for header in (f"Bearer {'geheim-ß'}", f"Basic {basic}"):
            for path in paths[:-1]:
                sent = {"Authorization": header.encode()}
                assert (await found.get(path, headers=sent)).status_code == 200
        for header in (
            "Bearer geheim",
            "Bearer",
            "Basic !!",
            "geheim-ß",
            "Basic " + base64.b64encode(b"geheim").decode(),
        ):
            assert (await found.get("/models", headers={"Authorization": header.encode()})).status_code == 401

    asked(talk, token="geheim-ß")


def test_a_server_of_its_own_machine_is_called_by_its_own_names() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        for host, status in {
            "127.0.0.1:8000": 200,
            "localhost": 200,
            "[::1]:8000": 200,
            "LOCALHOST:1": 200,
            "evil.example": 421,
            "localhost.evil.example": 421,
            "": 421,
        }.items():
            answer = await found.get("/models", headers={"Host": host})
            assert answer.status_code == status, host

    asked(talk, hosts={"127.0.0.1", "localhost", "[::1]"})


def test_what_is_told_of_models_and_health() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        models = (await found.get("/models")).json()["models"]
        assert [model["name"] for model in models] == ["teacher", "student"]
        assert models[0]["labels"] == list(LABELS)
        assert models[1]["texts_a_row"] == 2
        assert models[0]["fingerprint"] == "stub"
        assert models[0]["attributions"] is None
        health = await found.get("/health")
        assert health.json() | {"version": ""} == {
            "status": "ok",
            "models": ["teacher", "student"],
            "problems": {},
            "waiting": 0,
            "version": "",
        }

    asked(talk, {"teacher": Stub(), "student": Stub(PAIRS)})


def test_attributions_where_there_are_some() -> None:
    def explain(model: Any) -> Any:
        if model.task is PAIRS:
            return None
        return "made up", lambda text, label: {
            "label": label or "bad",
            "tokens": [{"token": text, "score": 1.0, "start": 0, "end": len(text), "text": 0}],
        }

    from serving_stubs import sources

    from understudy.deploy.serve.served import ServedModels

    async def talk(found: httpx.AsyncClient) -> None:
        told = (await found.post("/attributions", json={"text": "abc", "label": "good"})).json()
        assert told | {"computed_ms": 0} == {
            "model": "one",
            "method": "made up",
            "label": "good",
            "tokens": [{"token": "abc", "score": 1.0, "start": 0, "end": 3, "text": 0}],
            "computed_ms": 0,
        }
        for body, status, sentence in (
            ({"text": ["a", "b"], "model": "two"}, 422, "model 'two' has no gradients here"),
            ({"text": "a", "label": "god"}, 422, "label is 'god', but the labels are 'bad', 'fair', 'good'"),
            ({"text": "a", "model": "three"}, 404, "model is 'three'"),
            ({"texts": ["a"]}, 422, "text is missing"),
        ):
            answer = await found.post("/attributions", json=body)
            assert answer.status_code == status
            assert sentence in " ".join(answer.json()["detail"])

    served = ServedModels(sources(one=Stub(), two=Stub(PAIRS)), explainer=explain)
    asked(talk, served=served)

    def cannot(text: Any, label: str | None) -> dict[str, Any]:
        raise ModelError("this model reads its tokens in another order, so it has no attributions.")

    async def refused_at_once(found: httpx.AsyncClient) -> None:
        assert (await found.get("/models")).json()["models"][0]["attributions"] is None
        assert (await found.post("/attributions", json={"text": "a"})).status_code == 422

    asked(refused_at_once, served=ServedModels(sources(one=Stub()), explainer=lambda model: ("made up", cannot)))


def test_what_is_counted() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        await predicted(found, texts=["a"] * 70)
        await found.get("/nowhere/" + "x" * 50)
        text = (await found.get("/metrics")).text
        assert 'understudy_texts_total{model="stub"} 70.0' in text
        assert 'understudy_batch_texts_count{model="stub"} 3.0' in text
        assert 'understudy_requests_total{route="/predict",status="200"} 1.0' in text
        assert 'understudy_requests_total{route="other",status="404"} 1.0' in text
        assert "understudy_texts_waiting 0.0" in text
        assert "process_resident_memory_bytes" in text

    asked(talk)


def test_the_page_is_whole_and_lets_nothing_in() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        page = await found.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        script, style = (await found.get("/playground.js")), (await found.get("/playground.css"))
        assert script.headers["content-type"].startswith("text/javascript")
        assert style.headers["content-type"].startswith("text/css")
        for text in (page.text, script.text, style.text):
            assert "//cdn" not in text
            assert "http" not in text.replace("http-equiv", "")
        for danger in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert danger not in script.text
        assert " style=" not in page.text
        assert " onclick" not in page.text
        # every element that the script asks for is there
        import re

        for name in set(re.findall(r'at\("([\w-]+)"\)', script.text)):
            assert f'id="{name}"' in page.text, name

    asked(talk)


def test_openapi_says_what_is_so() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        told = (await found.get("/openapi.json")).json()
        assert set(told["paths"]) == {"/predict", "/attributions", "/models", "/health", "/metrics"}
        body = told["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert body["oneOf"] == [{"required": ["text"]}, {"required": ["texts"]}]
        assert body["properties"]["texts"]["maxItems"] == 7
        assert body["properties"]["text"]["anyOf"][0] == {"type": "string", "maxLength": 9}
        assert "$ref" not in json.dumps(body)
        answers = told["paths"]["/predict"]["post"]["responses"]
        assert {"200", "404", "413", "422", "503"} <= set(answers)

    asked(talk, limits=Limits(max_texts=7, max_chars=9))


def test_a_large_call_does_not_starve_small_ones() -> None:
    async def talk(found: httpx.AsyncClient) -> None:
        large = asyncio.create_task(found.post("/predict", json={"texts": [f"large {i}" for i in range(10_000)]}))
        small = 0
        while not large.done():
            told = await predicted(found, text=f"small {small}")
            assert told["predictions"][0]["probabilities"] == shares_of(f"small {small}")
            small += 1
        answers = large.result().json()["predictions"]
        assert [answer["probabilities"] for answer in answers] == [shares_of(f"large {i}") for i in range(10_000)]
        assert small > 10

    asked(talk, {"stub": Stub(seconds=0.001)})


def test_the_end_answers_what_was_taken() -> None:
    async def run() -> None:
        model = Stub()
        async with client({"stub": model}) as found:
            model.gate.clear()
            calls = [asyncio.create_task(found.post("/predict", json={"text": str(i)})) for i in range(50)]
            await asyncio.sleep(0.05)
            asyncio.get_running_loop().call_later(0.05, model.gate.set)
        for i, call in enumerate(calls):
            assert (await call).json()["predictions"][0]["probabilities"] == shares_of(str(i))

    asyncio.run(run())
