package daemon

import (
	"html/template"
	"net/http"
	"time"

	"github.com/tokenagent/tokenagent/agent"
)

// page shows a person what /status tells a program.
func page(w http.ResponseWriter, s agent.Status) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	_ = pageTemplate.Execute(w, s)
}

//nolint:gochecknoglobals // parsed once
var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"when": func(t time.Time) string {
		if t.IsZero() {
			return "–"
		}
		return t.UTC().Format("2006-01-02 15:04:05Z")
	},
}).Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>tokenagent</title>
<meta name="viewport" content="width=device-width"><style>
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}
code{font-family:ui-monospace,monospace}.bad{color:#c22;font-weight:600}
</style></head><body>
<h1>tokenagent</h1>
<p>{{if .Ready}}ready{{else}}<span class="bad">not ready: no good content yet</span>{{end}} · version {{.Version}}</p>
{{range .Sources}}<h2>{{.Name}}</h2>
<table>
<tr><th>source</th><td>{{.Kind}} <code>{{.Location}}</code></td></tr>
<tr><th>watching</th><td>{{.WatchMode}}</td></tr>
<tr><th>generation</th><td>{{.Generation}}, rotated {{.Rotations}} times</td></tr>
<tr><th>last good read</th><td>{{when .LastReloadSuccess}}</td></tr>
<tr><th>last change</th><td>{{when .LastChange}}</td></tr>
{{with .Fault}}<tr><th>fault</th><td class="bad">{{.}}</td></tr>{{end}}
{{range .Limits}}<tr><th>note</th><td class="bad">{{.}}</td></tr>{{end}}
<tr><th>overlap ends</th><td>{{when .OverlapExpires}}</td></tr>
<tr><th>revoked</th><td>{{.Revoked}}</td></tr>
</table>
<table><tr><th>slot</th><th>fingerprint</th><th>declared</th><th>refused from</th><th>last used</th><th>JWT exp</th></tr>
{{range .Tokens}}<tr><td>{{.Slot}}</td><td><code>{{.Fingerprint}}</code>{{with .Algorithm}} {{.}}{{end}}{{with .KeyID}} <code>{{.}}</code>{{end}}</td><td>{{.Declared}}</td><td>{{when .Deadline}}</td><td>{{when .LastUsed}}</td><td>{{when .Expires}}</td></tr>
{{else}}<tr><td colspan="6" class="bad">nothing is accepted</td></tr>{{end}}</table>
{{with .PreviousUsers}}<h3>who still uses a superseded token</h3>
<table><tr><th>host</th><th>fingerprint</th><th>first</th><th>last</th></tr>
{{range .}}<tr><td>{{.Host}}</td><td><code>{{.Fingerprint}}</code></td><td>{{when .First}}</td><td>{{when .Last}}</td></tr>{{end}}</table>{{end}}
{{end}}<p>For programs: <a href="/status">/status</a>, <a href="/metrics">/metrics</a>.</p>
</body></html>
`))
