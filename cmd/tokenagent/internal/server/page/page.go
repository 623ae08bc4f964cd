// Package page renders the status of an agent as a page for people. The page is complete
// without its script, which keeps it up to date.
//
// The page loads nothing: it contains its style, script and icon. Its
// Content-Security-Policy allows the style and the script by their hashes, and lets the
// script send requests only to this port. It forbids everything else, including inline
// handlers and HTML made from strings (Content Security Policy Level 3,
// https://www.w3.org/TR/CSP3/). The page shows hosts, names and errors only as text.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

var (
	//go:embed page.html
	htmlText string
	//go:embed page.css
	cssText string
	//go:embed span.js
	spanText string
	//go:embed page.js
	jsText string
)

// Handler returns a handler that answers every request with the page of the current
// status. host is the name of the machine; "" leaves it out. status must be safe for
// concurrent use, and so is the handler.
func Handler(status func() realm.Status, host string) http.Handler {
	d := newDocument()
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		data := struct {
			*document
			*view
		}{d, newView(status(), host, time.Now())}
		if err := d.template.Execute(&b, data); err != nil {
			http.Error(w, "cannot render the page; see /status: "+err.Error(), http.StatusInternalServerError)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(b.Len()))
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", d.policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(b.Bytes())
	})
}

// A document holds the parts of the page that do not depend on the status.
type document struct {
	template *template.Template
	policy   string
	CSS      template.CSS
	JS       template.JS
	Build    string // differs between versions of the page, so that the script notices a new one
}

func newDocument() *document {
	// A browser removes carriage returns from HTML before it computes the hashes.
	lines := strings.NewReplacer("\r\n", "\n")
	css, js := lines.Replace(cssText), lines.Replace(spanText+jsText)
	sum := sha256.Sum256([]byte(htmlText + css + js))
	return &document{
		template: template.Must(template.New("page").Parse(htmlText)),
		CSS:      template.CSS(css), //nolint:gosec // the text of page.css
		JS:       template.JS(js),   //nolint:gosec // the text of span.js and page.js
		Build:    hex.EncodeToString(sum[:4]),
		policy: strings.Join([]string{
			"default-src 'none'",
			"script-src '" + hash(js) + "'",
			"style-src '" + hash(css) + "'",
			"img-src data:",
			"connect-src 'self'",
			"base-uri 'none'",
			"form-action 'none'",
			"frame-ancestors 'none'",
			"require-trusted-types-for 'script'",
			"trusted-types 'none'",
		}, "; "),
	}
}

// hash returns text as a hash-source of the policy.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
