"use strict";

// The words of moment.go for a number of milliseconds.

function span(ms) {
	const s = Math.floor(ms / 1000);
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
	if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
	return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

const words = {
	ago: (past) => (past < 1000 ? "now" : `${span(past)} ago`),
	age: (past) => span(Math.max(past, 0)),
	left: (past) => (past >= 0 ? "over" : span(999 - past)),
};
