// Tests how the page looks and what a screen reader reads, in both themes and on a
// phone.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Agent } from "./agent.mjs";
import { Browser, until } from "./browser.mjs";

const [first, second] = ["CANARY-5b1e77-first", "CANARY-5b1e77-second"];

// The states that the page shows by colour, each with the steps that lead to it.
const states = {
	good: async () => {},
	rotating: async (agent) => {
		agent.write(second);
		await agent.tokens(2);
		await agent.send(first);
	},
	clients: async (agent) => {
		agent.write(`${first} name=ci\n${second} next name=ci\n${second}-2 name=a-client-with-a-long-name-that-must-not-widen-the-page`);
		await until("the clients are known", async () => (await agent.status()).sources[0].tokens.length === 3);
		await agent.send(first);
	},
	faulty: async (agent) => {
		agent.write(second);
		await agent.tokens(2);
		agent.write("short");
		await until("the error is known", async () => (await agent.status()).sources[0].fault);
	},
};

let browser;
before(async () => { browser = await Browser.start(); });
after(async () => { await browser?.close(); });

async function opened(t, bring, options) {
	const agent = await Agent.start(first);
	t.after(() => agent.remove());
	await bring(agent);
	const page = await browser.open(agent.page, options);
	t.after(() => page.close());
	await until("the script runs", async () => (await page.text("#state")) === "Live");
	return page;
}

// dim lists the texts whose contrast is less than 4.5 to 1 (WCAG 2.2, 1.4.3),
// with colours as the browser has mixed them.
const dim = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const rgb = (...colours) => {
		canvas.clearRect(0, 0, 1, 1);
		for (const c of colours) { canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); }
		return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
	};
	const light = (c) => c.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const found = [];
	let looked = 0;
	for (const e of document.body.querySelectorAll("*")) {
		const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.nodeValue.trim());
		if (!own || !e.checkVisibility() || e.closest("script, noscript")) continue;
		const grounds = [];
		for (let n = e; n; n = n.parentElement) grounds.unshift(getComputedStyle(n).backgroundColor);
		const [a, b] = [rgb(...grounds), rgb(...grounds, getComputedStyle(e).color)].map(light).sort((x, y) => y - x);
		looked++;
		if ((a + 0.05) / (b + 0.05) < 4.5) found.push(e.textContent.trim() + " " + ((a + 0.05) / (b + 0.05)).toFixed(2));
	}
	return { looked, found };
})()`;

for (const [name, bring] of Object.entries(states)) {
	for (const dark of [false, true]) {
		test(`${name}, ${dark ? "dark" : "light"}: every text can be read`, async (t) => {
			const page = await opened(t, bring, { dark });
			const { looked, found } = await page.evaluate(dim);
			assert.ok(looked > 20, `${looked} texts`);
			assert.deepEqual(found, []);
			const ground = await page.evaluate("getComputedStyle(document.body).backgroundColor");
			const [red] = ground.match(/\d+/g).map(Number);
			assert.equal(red < 60, dark, `the ground is ${ground}`);
		});
	}
}

for (const name of ["rotating", "clients"]) test(`${name}: on a phone nothing is cut off or needs scrolling sideways`, async (t) => {
	const page = await opened(t, states[name], { width: 320, height: 640 });
	const wide = await page.evaluate(`[...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.closest("thead") &&
		(e.getBoundingClientRect().right > innerWidth || e.getBoundingClientRect().left < 0)).map((e) => e.outerHTML.slice(0, 80))`);
	assert.deepEqual(wide, []);
	assert.equal(await page.evaluate("document.documentElement.scrollWidth"), 320);
});

for (const width of [1100, 390]) {
	test(`a screen reader gets the structure, ${width} wide`, async (t) => {
		const page = await opened(t, states.rotating, { width, height: 800 });
		const { nodes } = await page.send("Accessibility.getFullAXTree");
		const all = nodes.filter((n) => !n.ignored).map((n) => `${n.role?.value} ${n.name?.value ?? ""}`.trim());
		for (const want of [
			"heading Ready, rotating", "region token", "heading token", "button Pause", "main", "banner", "contentinfo", "table", "columnheader Fingerprint",
			"columnheader In this slot", "cell current what senders send", "timer",
		]) assert.ok(all.some((n) => n === want || n.startsWith(want + " ")), `${want} is not in\n${all.filter((n) => !/^(StaticText|InlineTextBox)/.test(n)).join("\n")}`);
	});
}

test("the keyboard reaches everything that can be used, and shows where it is", async (t) => {
	const page = await opened(t, states.rotating, {});
	const met = [];
	for (let i = 0; i < 12; i++) {
		await page.send("Input.dispatchKeyEvent", { type: "keyDown", key: "Tab", code: "Tab", windowsVirtualKeyCode: 9 });
		await page.send("Input.dispatchKeyEvent", { type: "keyUp", key: "Tab", code: "Tab", windowsVirtualKeyCode: 9 });
		const at = await page.evaluate("[document.activeElement.innerText, getComputedStyle(document.activeElement).outlineStyle]");
		if (at[1] === "solid") met.push(at[0]);
	}
	for (const want of ["Pause", "/status", "/metrics", "/readyz", "/livez"]) assert.ok(met.includes(want), `${want} is not in ${met}`);
});
