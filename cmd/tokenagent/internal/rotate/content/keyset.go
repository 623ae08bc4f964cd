package content

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

const (
	noRoomFile = "it holds one key and has no room for a second; make a directory with the key in the file DIRECTORY/key, and give that to the agents (--key-file DIRECTORY)"
	noRoomJWK  = `it holds one JWK and has no room for a second; make a set of it, {"keys":[ before and ]} behind it`
)

// LooksLikeKeys reports whether the text of a file is verification keys and not tokens:
// JSON or PEM. An HMAC secret looks like a token.
func LooksLikeKeys(text []byte) bool {
	text = bytes.Trim(bytes.TrimPrefix(text, []byte(bom)), white)
	return bytes.HasPrefix(text, []byte("-----BEGIN ")) || IsJWK(text) && json.Valid(text)
}

// IsJWK reports whether text, which parses, is JSON.
func IsJWK(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(text, []byte(bom)), white), []byte("{"))
}

// ParseKeyFile parses the text of a file of keys; see [jwks.Parse].
func ParseKeyFile(text []byte, o Options) (Content, error) {
	got, err := jwks.Parse(text, o.keys())
	if err != nil {
		return Content{}, err
	}
	c := Content{Kind: Keys, NoDigests: true}
	for _, d := range got.Decls {
		put(&c, Key(d.Value, text), d.Slot, time.Time{})
	}
	switch {
	case !c.HasCurrent():
		c.IsKeySet = true
	case IsJWK(text):
		c.NoRoom = noRoomJWK
	default:
		c.NoRoom = noRoomFile
	}
	return c, nil
}

// parseKeyDir parses the keys of a directory of verification keys. With an error it
// returns the revocations.
func parseKeyDir(keys map[string][]byte, o Options) (Content, error) {
	got, err := jwks.ParseKeys(keys, o.keys())
	c := Content{Kind: Keys, Revoked: got.Revoked, Retired: got.Retired, Unrevoked: got.Unrevoked}
	at := map[rotation.Slot]string{rotation.Current: jwks.KeyCurrent, rotation.Next: jwks.KeyNext, rotation.Previous: jwks.KeyPrevious}
	for _, d := range got.Decls {
		put(&c, Key(d.Value, keys[at[d.Slot]]), d.Slot, d.Until)
	}
	switch {
	case !hasAny(keys, jwks.KeyJWKS):
	case c.HasCurrent():
		c.NoRoom = noRoomJWK
	default:
		c.IsKeySet = !hasAny(keys, jwks.KeyCurrent)
	}
	return c, err
}

// EditSet returns text, a file with a key set that declares have, changed so that it
// declares want. The result has been parsed again.
func EditSet(text []byte, have, want Content, o Options) ([]byte, error) {
	out, err := editSet(text, have, want, o)
	if err != nil {
		return nil, err
	}
	got, err := ParseKeyFile(out, o)
	return out, confirm(want, got, err)
}

// editSet writes the key set anew if a key comes or goes. All other members, and the
// members of the keys that stay, keep their values.
func editSet(text []byte, have, want Content, o Options) ([]byte, error) {
	var set map[string]json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte(bom)), &set); err != nil {
		return nil, err
	}
	var keys, edited []json.RawMessage
	if err := json.Unmarshal(set["keys"], &keys); err != nil {
		return nil, err
	}
	for _, raw := range keys { // a key is there once for each of its names
		got, err := jwks.Parse(raw, o.keys())
		if err != nil {
			return nil, err
		}
		if has(want.Listed, got.Decls[0].ID) {
			edited = append(edited, raw)
		}
	}
	changed := len(edited) < len(keys)
	for _, k := range want.Listed {
		if !has(have.Listed, k.ID()) {
			changed = true
			edited = append(edited, json.RawMessage(k.Reveal()))
		}
	}
	if !changed {
		return text, nil
	}
	var err error
	if set["keys"], err = json.Marshal(edited); err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(set, "", "  ")
	return append(out, '\n'), err
}

func has(keys []Credential, id rotation.ID) bool {
	return slices.ContainsFunc(keys, func(k Credential) bool { return k.ID() == id })
}
