// Makes pictures of the page in the given directory, from a real daemon in the middle of
// a rotation. It replaces the names of this machine with names as in a cluster.
import { writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { Agent } from "./agent.mjs";
import { Browser, pause, until } from "./browser.mjs";

const [first, second, third] = ["first", "second", "third"].map((name) => `picture-of-a-token-${name}`);
const agent = await Agent.start(first, "--overlap", "15m", "--max-overlap", "2h");
const browser = await Browser.start();
try {
	agent.write(`${second}\n${third} next\n`);
	await agent.tokens(3);
	await agent.send(second);
	for (const from of ["127.0.3.17", "127.0.7.204"]) await agent.send(first, from);
	await pause(8000); // so that the spans are not all zero
	for (const [name, dark] of [["light", false], ["dark", true]]) {
		const page = await browser.open(agent.page, { dark, width: 1000, height: 800 });
		await until("the page is live", async () => (await page.text("#state")) === "Live");
		const names = [[hostname(), "orders-7f6c9d-x2k4p"], [agent.path, "/var/run/secrets/app-api-token"], ["127.0.", "10.42."], [/version \S+/, "version v1.0.0"]];
		const height = await page.evaluate(`(() => {
			// As in a hidden tab it asks nothing more, which would undo the names.
			Object.defineProperty(document, "hidden", { get: () => true });
			document.dispatchEvent(new Event("visibilitychange"));
			const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
			while (texts.nextNode()) {
				const n = texts.currentNode;
				if (n.parentElement.tagName === "SCRIPT") continue;
				for (const [from, to] of [${names.map(([from, to]) => `[${from instanceof RegExp ? from : JSON.stringify(from)}, ${JSON.stringify(to)}]`)}]) {
					n.nodeValue = n.nodeValue.replace(from, to);
				}
			}
			return document.body.scrollHeight;
		})()`);
		await page.shape({ dark, width: 1000, height: Math.ceil(height) });
		writeFileSync(join(process.argv[2], `page-${name}.png`), await page.shot());
		await page.close();
	}
} finally {
	await browser.close();
	await agent.remove();
}
