
// Keeps the page up to date. It requests the page again, which the browser parses into
// a second document without running its scripts, and copies the differences. So only
// the template contains words and escaping. The script makes no HTML from strings,
// which the page's policy forbids.

const every = 2000; // milliseconds from an answer to the next request
const patience = 5000; // milliseconds to wait for an answer
const most = 100; // changes in the list

const by = (id) => document.getElementById(id);
const regions = ["icon", "asof", "live"];

let asked = null; // the open request
let timer = 0; // for the next request
let paused = false;
let lost = false;
let clock = read(document);

// read returns the agent's clock from doc. It advances by this machine's monotonic
// clock, so the wall clocks of the two may differ.
function read(doc) {
	return { at: Date.parse(doc.getElementById("asof").dateTime), since: performance.now() };
}

const now = () => clock.at + performance.now() - clock.since;

function say(node, text) {
	if (node.textContent !== text) node.textContent = text;
}

function tick() {
	if (paused || document.hidden) return;
	for (const e of document.querySelectorAll("time[data-tick]")) {
		say(e, words[e.dataset.tick](now() - Date.parse(e.dateTime)));
	}
}

// morph changes the node have into want. It keeps equal nodes, so the focus, a
// selection and unfolded parts stay.
function morph(have, want) {
	for (const { name } of [...have.attributes]) {
		if (!want.hasAttribute(name) && name !== "open") have.removeAttribute(name);
	}
	for (const { name, value } of want.attributes) {
		if (have.getAttribute(name) !== value) have.setAttribute(name, value);
	}
	const key = (node) => node.dataset?.key;
	let next = have.firstChild;
	for (const w of want.childNodes) {
		let h = next;
		while (h && key(w) && key(h) !== key(w)) h = h.nextSibling;
		if (!h || h.nodeName !== w.nodeName || key(h) !== key(w)) {
			have.insertBefore(document.importNode(w, true), next);
			continue;
		}
		if (h === next) next = h.nextSibling;
		else have.insertBefore(h, next);
		if (h.nodeType === Node.ELEMENT_NODE) morph(h, w);
		else if (h.nodeValue !== w.nodeValue) h.nodeValue = w.nodeValue;
	}
	while (next) {
		const rest = next.nextSibling;
		next.remove();
		next = rest;
	}
}

// facts returns the parts of the page whose changes are reported.
function facts() {
	return new Map([...by("live").querySelectorAll("[data-say]")].map((e) => [e.dataset.key, e]).map(
		([key, e]) => [key, { element: e, say: e.dataset.say, gone: e.dataset.gone }],
	));
}

function tell(text) {
	const list = by("changes");
	const item = document.createElement("li");
	const time = document.createElement("time");
	time.dateTime = new Date(now()).toISOString();
	time.textContent = time.dateTime.slice(11, 19) + " UTC";
	item.append(time, " " + text);
	list.prepend(item);
	while (list.childElementCount > most) list.lastElementChild.remove();
	by("seen").hidden = false;
}

function take(doc) {
	if (doc.documentElement.dataset.build !== document.documentElement.dataset.build) {
		location.reload(); // another version answers, with another script
		return;
	}
	clock = read(doc);
	if (lost) tell("The agent answers again.");
	found();
	const before = facts();
	for (const id of regions) morph(by(id), doc.getElementById(id));
	document.title = doc.title;
	tick();
	for (const [key, is] of facts()) {
		const was = before.get(key);
		before.delete(key);
		if (was?.say === is.say) continue;
		is.element.classList.add("fresh");
		tell(is.say);
	}
	for (const [, was] of before) if (was.gone) tell(was.gone);
}

function found() {
	lost = false;
	document.body.classList.remove("lost");
	by("silent").hidden = true;
	state();
}

function lose() {
	if (lost) return;
	lost = true;
	document.body.classList.add("lost");
	document.title = "No answer · " + document.title;
	say(by("since"), by("asof").textContent);
	by("silent").hidden = false;
	tell("The agent does not answer.");
	state();
}

function state() {
	say(by("state"), paused ? "Paused" : lost ? "No answer" : "Live");
	by("state").className = paused ? "paused" : lost ? "none" : "on";
	say(by("pause"), paused ? "Resume" : "Pause");
}

function ask() {
	clearTimeout(timer);
	if (asked || paused || document.hidden) return;
	const request = new XMLHttpRequest();
	asked = request;
	request.open("GET", location.pathname);
	request.responseType = "document";
	request.timeout = patience;
	request.onload = () => {
		const doc = request.status === 200 ? request.response : null;
		if (doc && regions.every((id) => doc.getElementById(id))) take(doc);
		else lose();
	};
	request.onerror = request.ontimeout = lose;
	request.onloadend = () => {
		asked = null;
		if (!paused && !document.hidden) timer = setTimeout(ask, every);
	};
	request.send();
}

// follow starts or stops the requests, after a click or when the tab is shown or hidden.
function follow() {
	state();
	clearTimeout(timer);
	if (paused || document.hidden) asked?.abort();
	else ask();
}

by("pause").addEventListener("click", () => {
	paused = !paused;
	follow();
});
document.addEventListener("visibilitychange", follow);
by("follow").hidden = false;
state();
setInterval(tick, 1000);
timer = setTimeout(ask, every);
