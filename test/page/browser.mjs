// A headless Chromium, driven by the DevTools protocol over a pipe
// (--remote-debugging-pipe: messages in JSON, each ended by a zero byte), which
// needs no package and no port. https://chromedevtools.github.io/devtools-protocol/
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const limit = 20_000; // milliseconds, only to stop a hang

export const chromium = process.env.CHROMIUM ?? "/usr/bin/chromium";

export class Browser {
	#next = 1;
	#waiting = new Map();
	#pages = new Map();

	static async start() {
		const b = new Browser();
		b.profile = mkdtempSync(join(tmpdir(), "page-chromium-"));
		b.process = spawn(chromium, [
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
			"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
			"--remote-debugging-pipe", "--user-data-dir=" + b.profile, "about:blank",
		], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
		b.ended = new Promise((resolve) => b.process.once("exit", resolve));
		b.process.once("error", (e) => b.#fail(new Error(`${chromium} does not start: ${e.message}`)));
		b.process.once("exit", (code) => b.#fail(new Error(`${chromium} ended with ${code}`)));
		let rest = "";
		b.process.stdio[4].setEncoding("utf8").on("data", (text) => {
			const messages = (rest + text).split("\0");
			rest = messages.pop();
			for (const m of messages) b.#receive(JSON.parse(m));
		});
		b.process.stdio[3].on("error", () => {});
		await b.send("Browser.getVersion");
		return b;
	}

	#fail(error) {
		for (const { reject } of this.#waiting.values()) reject(error);
		this.#waiting.clear();
	}

	#receive(m) {
		if (m.id === undefined) {
			this.#pages.get(m.sessionId)?.event(m.method, m.params);
			return;
		}
		const w = this.#waiting.get(m.id);
		this.#waiting.delete(m.id);
		if (m.error) w?.reject(new Error(`${w.method}: ${m.error.message}`));
		else w?.resolve(m.result);
	}

	send(method, params = {}, sessionId = undefined) {
		const id = this.#next++;
		return new Promise((resolve, reject) => {
			const timer = setTimeout(() => reject(new Error(`${method}: no answer within ${limit / 1000} s`)), limit);
			const done = (f) => (v) => { clearTimeout(timer); f(v); };
			this.#waiting.set(id, { method, resolve: done(resolve), reject: done(reject) });
			this.process.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
		});
	}

	// open returns a new tab at url, set up by options: javascript, dark, width,
	// height, scale.
	async open(url, options = {}) {
		const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
		const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
		const p = new Page(this, sessionId, targetId);
		this.#pages.set(sessionId, p);
		await p.setup(url, options);
		return p;
	}

	async close() {
		this.process.stdio[3].write(JSON.stringify({ id: 0, method: "Browser.close" }) + "\0");
		const hung = setTimeout(() => this.process.kill("SIGKILL"), limit);
		await this.ended;
		clearTimeout(hung);
		rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
	}
}

export class Page {
	complaints = []; // of the console, of the policy, of scripts
	network = []; // "Failed to load" and the like: where an agent has stopped
	requests = [];

	constructor(browser, session, target) {
		Object.assign(this, { browser, session, target });
	}

	send(method, params) {
		return this.browser.send(method, params, this.session);
	}

	event(method, p) {
		if (method === "Runtime.exceptionThrown") this.complaints.push(p.exceptionDetails.exception?.description ?? p.exceptionDetails.text);
		if (method === "Runtime.consoleAPICalled") this.complaints.push(`console.${p.type}: ${p.args.map((a) => a.value).join(" ")}`);
		if (method === "Log.entryAdded") (p.entry.source === "network" ? this.network : this.complaints).push(p.entry.text + " " + (p.entry.url ?? ""));
		if (method === "Audits.issueAdded" && p.issue.code !== "GenericIssue") this.complaints.push(JSON.stringify(p.issue));
		if (method === "Network.requestWillBeSent") this.requests.push(p.request.url);
		if (method === "Page.loadEventFired") this.loads = (this.loads ?? 0) + 1;
	}

	async setup(url, { javascript = true, dark = false, width = 1100, height = 900, scale = 1 }) {
		for (const domain of ["Page", "Runtime", "Log", "Network", "Audits"]) await this.send(domain + ".enable");
		await this.send("Emulation.setScriptExecutionDisabled", { value: !javascript });
		await this.shape({ dark, width, height, scale });
		const { errorText } = await this.send("Page.navigate", { url });
		if (errorText) throw new Error(`${url}: ${errorText}`);
		await until(`${url} has loaded`, () => this.loads > 0);
	}

	async shape({ dark, width, height, scale = 1 }) {
		await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });
		await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: scale, mobile: width < 500 });
	}

	// evaluate returns what the expression gives. It is run by the browser and not
	// by the page, so that it works where the page may run nothing.
	async evaluate(expression) {
		const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
		if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
		return result.value;
	}

	text(selector = "body") {
		return this.evaluate(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? ""`);
	}

	// shot returns the whole page as PNG.
	async shot() {
		const { data } = await this.send("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
		return Buffer.from(data, "base64");
	}

	close() {
		return this.browser.send("Target.closeTarget", { targetId: this.target });
	}
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// until waits for cond to return something true, and returns that.
export async function until(what, cond) {
	for (const end = Date.now() + limit; Date.now() < end; await pause(50)) {
		const got = await cond();
		if (got) return got;
	}
	throw new Error(`not within ${limit / 1000} s: ${what}`);
}
