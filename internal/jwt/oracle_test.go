package jwt

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/strictjson"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// slowObject decodes a header or claims with encoding/json and golang-jwt's rules: what
// readHeader and checkClaims do without decoding must have the same result.
func slowObject(text string) (members, exact map[string]any, err error) {
	if !utf8.ValidString(text) || json.Unmarshal([]byte(text), &members) != nil || members == nil {
		return nil, nil, errForm
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&exact) != nil {
		return nil, nil, errForm
	}
	return members, exact, slowWalk(json.NewDecoder(strings.NewReader(text)), 0)
}

// slowWalk returns an error if the next value repeats a member or is nested too deep.
func slowWalk(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if errors.Is(err, io.EOF) {
		return nil
	}
	open, nested := token.(json.Delim)
	switch {
	case err != nil:
		return err
	case !nested:
		return nil
	case depth == strictjson.MaxDepth:
		return errForm
	}
	seen := map[any]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if seen[name] {
				return errTwice
			}
			seen[name] = true
		}
		if err := slowWalk(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func slowHeader(text string) (*jws, error) {
	header, _, err := slowObject(text)
	if err != nil {
		return nil, err
	}
	if _, has := header["crit"]; has {
		return nil, errCritical
	}
	j := &jws{}
	_, j.named = header["kid"]
	for name, into := range map[string]*string{"alg": &j.alg, "kid": &j.kid, "typ": &j.typ} {
		if value, has := header[name]; has {
			text, ok := value.(string)
			if !ok {
				return nil, errForm
			}
			*into = text
		}
	}
	if j.alg == "" || len(j.kid) > MaxKeyID {
		return nil, errForm
	}
	j.alg = CanonicalAlgorithm(j.alg)
	return j, nil
}

// slowClaims returns what checkClaims finds in text, and the claims.
func (iss *Issuer) slowClaims(text string) (*cached, map[string]any, error) {
	members, exact, err := slowObject(text)
	if err != nil {
		return nil, nil, err
	}
	e := &cached{}
	switch sub := exact["sub"].(type) {
	case string:
		e.subject = sub
	case json.Number:
		if e.subject = sub.String(); strings.ContainsAny(e.subject, ".eE") {
			return nil, nil, errSubject
		}
	default:
		if _, has := members["sub"]; has {
			return nil, nil, errSubject
		}
	}
	if jti, has := members["jti"]; has {
		id, ok := jti.(string)
		if !ok {
			return nil, nil, errTokenID
		}
		e.jti = verify.RevokedTokenID(id)
	}
	at := func(name string) (t time.Time, ok bool) {
		value, has := members[name]
		if !has {
			return t, true
		}
		seconds, ok := value.(float64)
		if !ok {
			return t, false
		}
		return NumericDate(seconds)
	}
	expires, ok := at("exp")
	if !ok || expires.IsZero() {
		return nil, nil, errNoExpiry
	}
	e.expires = expires.Add(iss.cfg.Leeway)
	if e.notBefore, ok = at("nbf"); !ok {
		return nil, nil, errNotBefore
	}
	if !e.notBefore.IsZero() {
		e.notBefore = e.notBefore.Add(-iss.cfg.Leeway)
	}
	if iat, has := members["iat"]; has {
		if _, ok := iat.(float64); !ok {
			return nil, nil, errIssuedAt
		}
	}
	registered := jwt.MapClaims(members)
	issuer, err := registered.GetIssuer()
	if _, has := members["iss"]; err != nil || has && (issuer == "" || issuer != iss.cfg.Issuer) || !has && !iss.cfg.AllowMissingIssuer {
		return nil, nil, errIssuer
	}
	audience, err := registered.GetAudience()
	if err != nil || !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(iss.cfg.Audiences, a) }) {
		return nil, nil, errAudience
	}
	for _, r := range iss.required {
		if !r.Met(NewClaims(exact)) {
			return nil, nil, errClaims
		}
	}
	return e, members, nil
}

// sameReason reports whether two refusals have the same reason. A text that is not JSON
// may have a member twice before its error.
func sameReason(got, want error) bool {
	return errors.Is(got, want) || errors.Is(want, errForm) && errors.Is(got, errTwice)
}

// FuzzScannedHeader compares readHeader with a slow decoder.
func FuzzScannedHeader(f *testing.F) {
	for _, text := range []string{
		`{"alg":"HS256","kid":"k1","typ":"JWT"}`, `{"alg":"Ed25519","\u006bid":"\u0061"}`, `{"alg":"HS256","crit":[]}`, `{"alg":1}`,
		`{"alg":"HS256","kid":null}`, `{"alg":"a","alg":"a"}`, ` {"alg" : "a" , "jwk" : {"kid":"x"}} `, `{"kid":""}`, `null`, `{"alg":"a","x":1e999}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := &jws{}
		err := got.readHeader(text)
		want, wantErr := slowHeader(text)
		if !sameReason(err, wantErr) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v, %v", text, got, err, want, wantErr)
		}
	})
}

// FuzzScannedClaims compares checkClaims with a slow decoder.
func FuzzScannedClaims(f *testing.F) {
	for _, text := range []string{
		text(f, claimsNow(nil)), text(f, claimsNow(map[string]any{"aud": []any{"x", audience}, "scope": "a b", "n": 12})),
		`{"aud":["orders",1],"exp":1e9}`, `{"aud":["ord\u0065rs"],"exp":9.5e8,"sub":-12,"nbf":0.5,"\u0069ss":"https:\/\/issuer.example"}`,
		`{"exp":1,"aud":"orders","iss":null}`, `{"exp":1,"aud":"orders","sub":1.0}`, `{"exp":1,"aud":"orders","jti":""}`,
		`{"exp":-0,"aud":"orders","scope":["a"],"n":1.2e1}`, `{"exp":1,"aud":{"a":"orders"}}`, `{"exp":1,"aud":"orders","x":[{"a":1,"a":2}]}`,
		`{"exp":253402300800}`, `{"exp":1,"aud":"orders","iat":true}`, `{"exp":1,"aud":"orders","iat":-1}`, "{\"exp\":1,\"\xff\":1}",
	} {
		f.Add(text)
	}
	k := signingKeys()["HS256"].key(f, "k1")
	set := keySet(f, nil, k)
	var issuers []*Issuer
	for _, c := range []Config{
		{Issuer: issuer, Audiences: []string{audience}},
		{AllowMissingIssuer: true, Audiences: []string{"x", audience}, Leeway: -1},
		{Issuer: issuer, AllowMissingIssuer: true, Audiences: []string{audience}, RequiredClaims: map[string][]string{"scope": {"a"}, "/n": {"12"}}},
	} {
		iss, err := NewIssuer(fixed(set), c)
		if err != nil {
			f.Fatal(err)
		}
		issuers = append(issuers, iss)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for i, iss := range issuers {
			got, err := iss.checkClaims(set, set.find(k), &jws{claims: text})
			want, members, wantErr := iss.slowClaims(text)
			if !sameReason(err, wantErr) {
				t.Fatalf("issuer %d: %q: %v; want %v", i, text, err, wantErr)
			}
			if err != nil {
				continue
			}
			if got.subject != want.subject || got.jti != want.jti || !got.expires.Equal(want.expires) || !got.notBefore.Equal(want.notBefore) {
				t.Errorf("issuer %d: %q: %+v; want %+v", i, text, got, want)
			}
			for name, value := range members {
				if v, has := got.principal.Claim(name); !has || !reflect.DeepEqual(v, value) {
					t.Errorf("%q: claim %s is %v; want %v", text, name, v, value)
				}
			}
			const other = "no such claim"
			_, wantHas := members[other]
			if v, has := got.principal.Claim(other); has != wantHas {
				t.Errorf("%q: claim %v", text, v)
			}
		}
	})
}
