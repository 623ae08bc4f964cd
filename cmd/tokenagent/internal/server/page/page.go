// Package page shows a person what /status tells a program. The page is complete as it
// is served, and its script keeps it up to date.
//
// The page loads nothing: it contains its style, script and icon. Its
// Content-Security-Policy names the two by their hashes, lets the script ask
// this port alone, and forbids everything else (Content Security Policy Level 3,
// https://www.w3.org/TR/CSP3/), inline handlers and HTML made from strings
// included. Hosts, names and errors come from elsewhere and are only ever text.
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

// Handler returns the page of what status returns, for every method and path. host is
// the name of the machine; "" leaves it out. status must be safe for concurrent use, and
// so is the Handler.
func Handler(status func() realm.Status, host string) http.Handler {
	d := newDocument()
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		data := struct {
			*document
			*view
		}{d, newView(status(), host, time.Now())}
		if err := d.template.Execute(&b, data); err != nil {
			http.Error(w, "the page cannot be rendered; see /status: "+err.Error(), http.StatusInternalServerError)
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

// A document is what is the same in every page.
type document struct {
	template *template.Template
	policy   string
	CSS      template.CSS
	JS       template.JS
	Build    string // differs where the page does, so that the script notices a new version
}

func newDocument() *document {
	// As a browser reads them: HTML has no carriage returns, and a hash would
	// not match with them.
	lines := strings.NewReplacer("\r\n", "\n")
	css, js := lines.Replace(cssText), lines.Replace(spanText+jsText)
	sum := sha256.Sum256([]byte(htmlText + css + js))
	return &document{
		template: template.Must(template.New("page").Parse(htmlText)),
		CSS:      template.CSS(css), //nolint:gosec // ours, from page.css
		JS:       template.JS(js),   //nolint:gosec // ours, from span.js and page.js
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
