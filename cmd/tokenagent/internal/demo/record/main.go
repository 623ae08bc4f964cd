// Command record writes an SVG of what a command prints, read from standard input. Each line
// appears when it was printed, and stays.
//
//	tokenagent demo | record 'tokenagent demo' >docs/demo.svg
package main

import (
	"bufio"
	"fmt"
	"html"
	"os"
	"strings"
	"time"
)

const (
	columns, fontSize  = 82, 14
	charWidth, spacing = 8.43, 19 // pixels of a character and of a line
	margin             = 16
)

// A line is a line of the output, with the time since the start.
type line struct {
	text string
	at   time.Duration
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "record: give the command line to show, and its output on standard input")
		os.Exit(2)
	}
	began, lines := time.Now(), []line{{"$ " + os.Args[1], 0}}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		lines = append(lines, line{in.Text(), time.Since(began)})
	}
	if err := in.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
	fmt.Fprint(os.Stdout, svg(lines))
}

// svg returns the recording. A viewer without animation shows all lines.
func svg(lines []line) string {
	var b strings.Builder
	width, height := columns*charWidth+2*margin, len(lines)*spacing+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" width="%.0f" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="%d">`+"\n", width, height, width, fontSize)
	b.WriteString(`<rect width="100%" height="100%" rx="8" fill="#0d1117"/>` + "\n")
	for n, l := range lines {
		if l.text == "" {
			continue
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s" xml:space="preserve">%s`, margin, margin+(n+1)*spacing-5, colour(l.text), html.EscapeString(l.text))
		if l.at > 0 {
			fmt.Fprintf(&b, `<animate attributeName="opacity" values="0;0;1" keyTimes="0;0.99;1" dur="%.2fs"/>`, l.at.Seconds())
		}
		b.WriteString("</text>\n")
	}
	return b.String() + "</svg>\n"
}

// colour returns the colour of a line: red for the server without the agent, green for the
// agent's.
func colour(text string) string {
	switch {
	case strings.Contains(text, "reads once:"), strings.Contains(text, "without it,"):
		return "#ff7b72"
	case strings.Contains(text, "with the agent:"), strings.HasPrefix(text, "good: "):
		return "#7ee787"
	case strings.HasPrefix(text, "$ "):
		return "#79c0ff"
	default:
		return "#c9d1d9"
	}
}
