// Command reference writes the help of all commands of tokenagent to standard output: as
// the page docs/cli.md, or as a man page.
//
//	go run ./cmd/tokenagent/internal/reference markdown
//	go run ./cmd/tokenagent/internal/reference man
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/cli"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "markdown" {
		markdown(os.Stdout, commands(cli.Root()))
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "man" {
		man(os.Stdout, commands(cli.Root()))
		return
	}
	fmt.Fprintln(os.Stderr, "reference: say markdown or man")
	os.Exit(2)
}

// A command has the name with which a user calls it, its one-line description and the text
// of --help.
type command struct{ name, short, help string }

// commands returns cmd and all commands below it, in the order of the help.
func commands(cmd *cobra.Command) []command {
	var help bytes.Buffer
	cmd.SetOut(&help)
	cmd.InitDefaultHelpFlag()
	if err := cmd.Help(); err != nil {
		panic(err) // a buffer does not fail
	}
	list := []command{{cmd.CommandPath(), cmd.Short, strings.TrimSpace(help.String())}}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "completion" { // its help is about shells
			list = append(list, commands(c)...)
		}
	}
	return list
}

func markdown(w io.Writer, list []command) {
	fmt.Fprint(w, `# Which commands and flags are there?

`+"```"+`
tokenagent --help
tokenagent rotate stage --help
`+"```"+`

This page is the help of every command, as the program prints it. `+"`make reference`"+` writes it. Exit
codes: 0 good, 1 refused or failed, 2 usage, 130 interrupted.

| command | what it does |
|---|---|
`)
	for _, c := range list[1:] {
		fmt.Fprintf(w, "| [`%s`](#%s) | %s |\n", c.name, strings.ReplaceAll(c.name, " ", "-"), strings.ReplaceAll(c.short, "|", `\|`))
	}
	for _, c := range list {
		fmt.Fprintf(w, "\n## %s\n\n```\n%s\n```\n", c.name, c.help)
	}
}

// man writes a page for man(7). The help is written without filling, since it has tables.
func man(w io.Writer, list []command) {
	escape := func(s string) string {
		s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
		return strings.ReplaceAll("\n"+s, "\n.", "\n\\&.")[1:]
	}
	fmt.Fprintf(w, ".TH TOKENAGENT 1 \"\" tokenagent\n.SH NAME\ntokenagent \\- %s\n", escape(strings.ToLower(list[0].short[:1])+list[0].short[1:]))
	for _, c := range list {
		fmt.Fprintf(w, ".SH %s\n.nf\n%s\n.fi\n", escape(strings.ToUpper(c.name)), strings.ReplaceAll(escape(c.help), "\n'", "\n\\&'"))
	}
	fmt.Fprint(w, ".SH EXIT STATUS\n0 good, 1 refused or failed, 2 usage, 130 interrupted.\n")
}
