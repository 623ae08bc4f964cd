// Package process tests `tokenagent rotate run` as a process of its own, against a simulated
// API server and simulated agents in the process of the test. It has no code but tests.
package process
