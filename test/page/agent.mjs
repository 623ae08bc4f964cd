// A real daemon with its own token file, and senders that use the file.
import { spawn } from "node:child_process";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./browser.mjs";

const program = process.env.TOKENAGENT ?? new URL("../../bin/tokenagent", import.meta.url).pathname;

export class Agent {
	log = "";

	// start runs `tokenagent run` with more flags. It writes content into the token file,
	// unless content is null.
	static async start(content, ...flags) {
		const a = new Agent();
		a.dir = mkdtempSync(join(tmpdir(), "page-agent-"));
		a.path = join(a.dir, "token");
		if (content !== null) a.write(content);
		a.flags = ["--token-file", a.path, "--poll-interval", "1s", "--debounce", "50ms", ...flags];
		await a.run("127.0.0.1:0", "127.0.0.1:0");
		return a;
	}

	async run(listen, admin) {
		this.log = "";
		const args = ["run", "--listen", listen, "--admin-listen", admin, ...this.flags];
		this.process = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
		this.ended = new Promise((resolve) => this.process.once("exit", resolve));
		this.process.once("error", (e) => { this.log += e.message; });
		this.process.stderr.setEncoding("utf8").on("data", (text) => { this.log += text; });
		const at = (flag) => this.log.match(new RegExp(`for=${flag} addr=(\\S+)`))?.[1];
		await until("the agent listens: " + this.log, () => {
			if (this.process.exitCode !== null) throw new Error("the agent has ended: " + this.log);
			return at("listen") && at("admin-listen");
		});
		[this.main, this.admin] = [at("listen"), at("admin-listen")];
		this.page = `http://${this.admin}/`;
	}

	// write replaces the file as a careful writer does.
	write(content) {
		writeFileSync(this.path + ".new", content, { mode: 0o600 });
		renameSync(this.path + ".new", this.path);
	}

	async status() {
		return (await fetch(this.page + "status")).json();
	}

	// tokens returns the fingerprints that are accepted, by slot, once there are n.
	async tokens(n) {
		return until(`${n} tokens are accepted`, async () => {
			const { tokens } = (await this.status()).sources[0];
			return tokens.length === n && Object.fromEntries(tokens.map((t) => [t.slot, t.fingerprint]));
		});
	}

	// send asks the agent about a token, from an address of the loopback range, and
	// returns the answer's code.
	send(token, from = "127.0.0.1") {
		const [host, port] = this.main.split(":");
		return new Promise((resolve, reject) => {
			get({ host, port, localAddress: from, headers: { "dapr-api-token": token }, agent: false }, (res) => {
				res.resume();
				res.once("end", () => resolve(res.statusCode));
			}).once("error", reject);
		});
	}

	async stop() {
		this.process.kill("SIGKILL");
		await this.ended;
	}

	async remove() {
		await this.stop();
		rmSync(this.dir, { recursive: true, force: true });
	}
}
