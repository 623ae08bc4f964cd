// Tests the admin port's page of a real daemon in a real browser.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Agent } from "./agent.mjs";
import { Browser, pause, until } from "./browser.mjs";

const canary = "CANARY-5b1e77-";
const [first, second, third] = ["first", "second", "third"].map((name) => canary + name);

let browser;
before(async () => { browser = await Browser.start(); });
after(async () => { await browser?.close(); });

// scene runs f with an agent and its page. It also checks what must always be true: the
// browser reports no error, and the page contains no token.
async function scene(t, { content = first, flags = [], silent = false, ...options }, f) {
	const agent = await Agent.start(content, ...flags);
	t.after(() => agent.remove());
	const page = await browser.open(agent.page, options);
	t.after(() => page.close());
	await f(page, agent);
	assert.deepEqual(page.complaints, []);
	if (!silent) assert.deepEqual(page.network, []);
	assert.ok(!(await page.evaluate("document.documentElement.outerHTML")).includes(canary), "the page shows a token");
}

const shows = (page, text) => until(`the page shows ${text}`, async () => (await page.text()).includes(text));
const row = (page, slot) => page.evaluate(`document.querySelector(".slot.${slot}")?.closest("tr").innerText ?? ""`);
const column = (page, label) => page.evaluate(`[...document.querySelectorAll("td[data-label='${label}']")].map((e) => e.innerText.trim())`);
const headline = (page, text) => until(`the headline is ${text}`, async () => (await page.text("h1")) === text);

test("the words for spans of time are the server's", () => {
	const dir = new URL("../../cmd/tokenagent/internal/server/page/", import.meta.url);
	const words = new Function(readFileSync(new URL("span.js", dir), "utf8") + "return words;")();
	const spans = JSON.parse(readFileSync(new URL("testdata/spans.json", dir), "utf8"));
	assert.ok(spans.length > 0);
	for (const { ms, ...want } of spans) {
		assert.deepEqual({ ago: words.ago(ms), age: words.age(ms), left: words.left(ms) }, want, `${ms} ms`);
	}
});

test("it follows a rotation without being loaded again", (t) => scene(t, {}, async (page, agent) => {
	const before = await agent.tokens(1);
	assert.match(await row(page, "current"), new RegExp(before.current));
	assert.equal(await page.text("h1"), "Ready");
	agent.write(second);
	const now = await agent.tokens(2);
	await until("the new token is shown as current", async () => (await row(page, "current")).includes(now.current));
	assert.match(await row(page, "previous"), new RegExp(before.current));
	await headline(page, "Ready, rotating");
	await shows(page, `token: ${now.current} is current now.`);
	await shows(page, `token: ${before.current} is superseded, and still accepted.`);
	assert.match(await page.evaluate("document.title"), /^Ready, rotating/);

	assert.equal(await agent.send(first, "127.0.0.9"), 200);
	await shows(page, `127.0.0.9 used the superseded ${before.current}.`);
	assert.match(await page.text(".overlap"), /Used (now|\d+ s ago) by 127\.0\.0\.9/);

	agent.write(second + "\nrevoked " + "0".repeat(63) + "1\n" + third + " next");
	await headline(page, "Ready, rotating");
	await shows(page, "is staged as next.");
	await shows(page, "1 digest");
	assert.equal(page.loads, 1);
}));

test("it shows which client uses what", (t) => scene(t, { content: `${first} name=ci` }, async (page, agent) => {
	assert.deepEqual(await column(page, "Client"), ["ci"]);
	await shows(page, "1 named client.");
	await shows(page, "0 uses");
	assert.equal(await agent.send(first), 200);
	await shows(page, "1 use");
	agent.write(`${second} name=ci\n${third} name=web`);
	await until("three tokens are accepted", async () => (await agent.status()).sources[0].tokens.length === 3);
	await until("the new client is shown", async () => (await column(page, "Client")).join() === "ci,ci,web");
	await shows(page, "of web is current now.");
	await shows(page, "of ci is superseded, and still accepted.");
	await pause(1100); // so that the use is later than the rotation
	assert.equal(await agent.send(first, "127.0.0.9"), 200);
	await shows(page, "2 named clients, 1 with an old token in use.");
	assert.match(await page.text(".overlap"), /of ci.*Used (now|\d+ s ago) by 127\.0\.0\.9/s);
	await until("the client and the host are shown", async () => (await column(page, "Host")).join() === "127.0.0.9" && (await column(page, "Client")).join() === "ci,ci,web,ci");
	assert.equal(page.loads, 1);
}));

test("two hundred clients: what needs somebody is seen at once", (t) => {
	const name = (i) => `client-${String(i).padStart(3, "0")}`;
	const clients = (n, more = "") => Array.from({ length: n }, (_, i) => `${canary}${name(i)}-token name=${name(i)}`).join("\n") + "\n" + more;
	return scene(t, { content: clients(200) }, async (page, agent) => {
		await shows(page, "200 named clients.");
		await shows(page, "150 more");
		const seen = () => page.evaluate(`[...document.querySelectorAll("td[data-label=Client]")].filter((e) => e.checkVisibility()).map((e) => e.innerText.trim())`);
		assert.equal((await seen()).length, 50);
		await page.evaluate("document.querySelector('details').open = true");
		assert.equal((await seen()).length, 200);
		agent.write(clients(200, `${third} next name=${name(177)}`));
		await shows(page, "1 with a staged token");
		assert.deepEqual((await seen()).slice(0, 3), [name(177), name(177), name(0)]);
		assert.equal(await page.evaluate("document.querySelector('details').open"), true, "an update folds what was unfolded");
		assert.equal((await seen()).length, 201);
	});
});

test("the countdown runs between two answers", (t) => scene(t, { flags: ["--overlap", "5m", "--max-overlap=-1s"] }, async (page, agent) => {
	agent.write(second);
	await until("the countdown is shown", () => page.evaluate("document.querySelector('[role=timer]') !== null"));
	await page.evaluate(`{
		const timer = document.querySelector("[role=timer]");
		window.seen = new Set();
		setInterval(() => window.seen.add(timer.textContent), 20);
	}`);
	const asked = page.requests.length;
	await until("the countdown has shown four numbers", () => page.evaluate("window.seen.size >= 4"));
	const seen = (await page.evaluate("[...window.seen]")).map((s) => s.match(/^(\d) min (\d+) s$/).slice(1)).map(([m, s]) => m * 60 + +s);
	assert.deepEqual(seen, [...seen].sort((a, b) => b - a), "it runs backwards only");
	assert.ok(seen[0] <= 300, `it begins at ${seen[0]}`);
	assert.ok(page.requests.length - asked < 4, "a question a second");
}));

test("an error and its fix are seen", (t) => scene(t, {}, async (page, agent) => {
	agent.write("short");
	await headline(page, "Ready, with an error");
	assert.match(await page.text(".problems"), /^Error.*token/);
	agent.write(first);
	await headline(page, "Ready");
	assert.equal(await page.text(".problems"), "");
}));

test("an agent that has nothing to accept is not ready", (t) => scene(t, { content: null, flags: ["--wait-for-source"] }, async (page, agent) => {
	assert.equal(await page.text("h1"), "Not ready");
	assert.match(await page.text(".problems"), /^Error.*no such file/);
	await shows(page, "Nothing.");
	agent.write(first);
	await headline(page, "Ready");
	await shows(page, "The agent: Ready.");
}));

test("all facts are there without JavaScript", (t) => scene(t, { javascript: false, flags: ["--max-overlap=-1s"] }, async (page, agent) => {
	agent.write(second);
	const tokens = await agent.tokens(2);
	await agent.send(first, "127.0.0.7");
	const again = await browser.open(agent.page, { javascript: false });
	t.after(() => again.close());
	const text = await again.text();
	for (const fact of [
		"Ready, rotating", tokens.current, tokens.previous, "min", "Fixed: refused from", "127.0.0.7", "Last good read",
		agent.path, "Rotated", "once", "file system events, and polling", "Load again", "As of",
	]) assert.ok(text.includes(fact), `${fact} is missing in\n${text}`);
	assert.ok(!text.includes("Pause") && !text.includes("Live"), "what needs the script is shown");
	assert.deepEqual(again.complaints, []);
	await pause(3000);
	assert.equal(again.requests.filter((url) => url.startsWith("http")).length, 1, "it loads by itself");
}));

test("an agent that does not answer is seen, and so is its return", (t) => scene(t, { silent: true }, async (page, agent) => {
	const hidden = () => page.evaluate("document.getElementById('silent').hidden");
	assert.equal(await hidden(), true);
	agent.process.kill("SIGSTOP"); // it hangs: only time tells
	await until("it is seen that the agent hangs", async () => !(await hidden()));
	agent.process.kill("SIGCONT");
	await until("it is seen that the agent goes on", hidden);
	await agent.stop();
	await until("it is seen that the agent has gone", async () => !(await hidden()));
	assert.match(await page.evaluate("document.title"), /^No answer · Ready/);
	assert.match(await page.text("#silent"), /does not answer.*as of \d\d:\d\d:\d\d UTC/);
	assert.equal(await page.text("#state"), "No answer");
	await agent.run(agent.main, agent.admin);
	await until("it is seen that the agent is back", hidden);
	await shows(page, "The agent answers again.");
	assert.match(await page.evaluate("document.title"), /^Ready/);
	assert.equal(page.loads, 1);
}));

test("it asks nothing while nobody looks", (t) => scene(t, {}, async (page, agent) => {
	const hide = (yes) => page.evaluate(`
		Object.defineProperty(document, "hidden", { configurable: true, get: () => ${yes} });
		document.dispatchEvent(new Event("visibilitychange"));`);
	const quiet = async (what) => {
		await pause(300); // one may have been under way
		const before = page.requests.length;
		await pause(5000);
		assert.equal(page.requests.length, before, what);
	};
	await hide(true);
	await quiet("it asks in a hidden tab");
	agent.write(second);
	const { current } = await agent.tokens(2);
	await hide(false);
	await until("it asks again", async () => (await row(page, "current")).includes(current));

	await page.evaluate("document.getElementById('pause').click()");
	assert.equal(await page.text("#state"), "Paused");
	await quiet("it asks while paused");
	agent.write(third);
	const newest = (await agent.tokens(3)).current;
	assert.match(await row(page, "current"), new RegExp(current));
	await page.evaluate("document.getElementById('pause').click()");
	assert.equal(await page.text("#state"), "Live");
	await until("it goes on", async () => (await row(page, "current")).includes(newest));
}));

test("an update takes nothing out of the reader's hands", (t) => scene(t, {}, async (page, agent) => {
	agent.write(second);
	await agent.tokens(2);
	for (let i = 1; i <= 12; i++) assert.equal(await agent.send(first, `127.0.1.${i}`), 200);
	await shows(page, "4 more");
	await page.evaluate(`
		window.table = document.querySelector("main table");
		document.querySelector("details").open = true;
		document.querySelector("summary").focus();`);
	agent.write(third);
	const { current } = await agent.tokens(3);
	await until("the page is up to date", async () => (await row(page, "current")).includes(current));
	assert.equal(await page.evaluate("document.querySelector('details').open"), true);
	assert.equal(await page.evaluate("document.activeElement.tagName"), "SUMMARY");
	assert.equal(await page.evaluate("window.table === document.querySelector('main table')"), true);
}));

test("the policy holds, and we hear of it", async (t) => {
	const agent = await Agent.start(first);
	t.after(() => agent.remove());
	const page = await browser.open(agent.page);
	t.after(() => page.close());
	await page.evaluate(`
		window.bad = [];
		try { document.body.insertAdjacentHTML("beforeend", "<b>x</b>"); bad.push("HTML made from a string"); } catch {}
		const s = document.createElement("script");
		try { s.textContent = "window.bad.push('script')"; document.body.append(s); } catch {}
		const styled = document.createElement("p");
		styled.setAttribute("style", "color: red");
		document.body.append(styled);
		if (styled.style.color) bad.push("style");
		fetch("http://127.0.0.1:1/").then(() => bad.push("fetch"), () => {});`);
	await until("the browser complains", () => page.complaints.length >= 3);
	assert.deepEqual(await page.evaluate("window.bad"), []);
});
