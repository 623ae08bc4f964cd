package content

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

const (
	fixedFile = "it holds one key and has no room for a second; make a directory with the key in the file DIRECTORY/key, and give that to the agents (--key-file DIRECTORY)"
	fixedJWK  = `it holds one JWK and has no room for a second; make a set of it, {"keys":[ before and ]} behind it`
)

// LooksLikeKeys reports whether the text of a file is that of verification keys
// and not of tokens: JSON, or PEM. An HMAC secret looks like a token.
func LooksLikeKeys(text []byte) bool {
	text = bytes.Trim(bytes.TrimPrefix(text, []byte(bom)), white)
	return bytes.HasPrefix(text, []byte("-----BEGIN ")) || IsJWK(text) && json.Valid(text)
}

// IsJWK reports whether text, which parses, is JSON.
func IsJWK(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(text, []byte(bom)), white), []byte("{"))
}

// ParseKeyFile reads the text of a file of keys; see [jwks.Parse].
func ParseKeyFile(text []byte, o Options) (Content, error) {
	got, err := jwks.Parse(text, o.keys())
	if err != nil {
		return Content{}, err
	}
	c := Content{Kind: Keys, Bare: true}
	for _, d := range got.Decls {
		put(&c, Key(d.Value, text), d.Slot, time.Time{})
	}
	switch {
	case !c.Current.isKey():
		c.Set = true
	case IsJWK(text):
		c.Fixed = fixedJWK
	default:
		c.Fixed = fixedFile
	}
	return c, nil
}

// parseKeyDir is ParseKeys for verification keys.
func parseKeyDir(keys map[string][]byte, o Options) (Content, error) {
	got, err := jwks.ParseKeys(keys, o.keys())
	if err != nil {
		return Content{}, err
	}
	c := Content{Kind: Keys, Revoked: got.Revoked, Retired: got.Retired, Unrevoked: got.Unrevoked}
	at := map[rotation.Slot]string{rotation.Current: jwks.KeyCurrent, rotation.Next: jwks.KeyNext, rotation.Previous: jwks.KeyPrevious}
	for _, d := range got.Decls {
		put(&c, Key(d.Value, keys[at[d.Slot]]), d.Slot, d.Until)
	}
	if _, there := keys[jwks.KeyJWKS]; there {
		if c.Set = !c.Current.isKey(); !c.Set {
			c.Fixed = fixedJWK
		}
	}
	return c, nil
}

// EditSet returns the text of a file that is a key set, changed so that it
// declares want. Everything but the keys that come and go keeps its bytes.
func EditSet(text []byte, want Content, o Options) ([]byte, error) {
	have, err := ParseKeyFile(text, o)
	if err != nil {
		return nil, err
	}
	out := editSet(text, have, want, o)
	got, err := ParseKeyFile(out, o)
	return out, confirm(want, got, err)
}

// editSet changes text, which declares have, without looking at what becomes of
// it.
func editSet(text []byte, have, want Content, o Options) []byte {
	places := elements(text)
	if len(places) == 0 {
		return text
	}
	lead := text[places[0].lead:places[0].start]
	var keep []string
	for _, at := range places { // a key has one for each kid and algorithm that it goes by
		got, err := jwks.Parse(text[at.start:at.end], o.keys())
		if err != nil {
			return text
		}
		if has(want.Listed, got.Decls[0].ID) {
			keep = append(keep, string(text[at.lead:at.end]))
		}
	}
	for _, k := range want.Listed {
		if !has(have.Listed, k.ID()) {
			keep = append(keep, string(lead)+k.Reveal())
		}
	}
	var b bytes.Buffer
	b.Write(text[:places[0].lead])
	for i, element := range keep {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(element)
	}
	b.Write(text[places[len(places)-1].end:])
	return b.Bytes()
}

// A span is where an element of a list stands, and from where white space leads
// to it.
type span struct{ lead, start, end int }

// elements returns where the keys of a key set, which parses, stand.
func elements(text []byte) (out []span) {
	rest := bytes.TrimPrefix(text, []byte(bom))
	skipped := len(text) - len(rest)
	d := json.NewDecoder(bytes.NewReader(rest))
	at := func() int { return skipped + int(d.InputOffset()) }
	if _, err := d.Token(); err != nil { // the brace
		return nil
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil
		}
		var value json.RawMessage
		if name != "keys" {
			if d.Decode(&value) != nil {
				return nil
			}
			continue
		}
		if _, err := d.Token(); err != nil { // the bracket
			return nil
		}
		for lead := at(); d.More(); lead = at() {
			if d.Decode(&value) != nil {
				return nil
			}
			if len(out) > 0 {
				lead += 1 + bytes.IndexByte(text[lead:], ',')
			}
			out = append(out, span{lead, at() - len(value), at()})
		}
		return out
	}
	return nil
}
