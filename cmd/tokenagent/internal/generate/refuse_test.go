package generate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
)

func TestUsage(t *testing.T) {
	for args, says := range map[string]string{
		"--bytes 15":      "--bytes must be at least 16",
		"--bytes 1000000": "--bytes must be at most",
		"--jwt RS512":     "--jwt must be HS256, ES256, EdDSA, RS256 or PS256",
		"--jwt none":      "--jwt must be",
		"--jwt ES256":     "--jwt needs --signing-key FILE",
		"--jwt ES256 --signing-key a --new-signing-key b": "one key signs",
		"--jwt ES256 --new-signing-key a --bytes 32":      "--bytes is for opaque tokens",
		"--jwt=": "--jwt must be HS256, ES256, EdDSA, RS256 or PS256",
		"--jwt HS256 --new-signing-key a --public-jwks-out b":                    "--public-jwks-out go with ES256",
		"--jwt ES256 --new-signing-key a --public-jwks-out b --public-key-out b": "name the same file",
		"--jwt ES256 --new-signing-key a --kid " + strings.Repeat("k", 1025):     "--kid is longer than 1024 bytes",
		"--jwt HS256 --new-signing-key a --public-key-out b":                     "HS256 has only a secret",
		"--jwt ES256 --new-signing-key a --expires-in 0s":                        "--expires-in must be at least 1s",
		"--jwt ES256 --new-signing-key a --not-before-in -1s":                    "--not-before-in must not be negative",
		"--jwt ES256 --new-signing-key a --not-before-in 1h":                     "shorter than --expires-in",
		"--jwt ES256 --new-signing-key a --claim x":                              "the form is NAME=VALUE",
		"--jwt ES256 --new-signing-key a --claim =x":                             "the form is NAME=VALUE",
		"--jwt ES256 --new-signing-key a --claim exp=1":                          "exp has a flag of its own, --expires-in",
		"--jwt ES256 --new-signing-key a --claim jti=1":                          "jti is set by generate itself",
		"--jwt ES256 --new-signing-key a --claim b=1 --claim b=2":                "--claim number 2: b is given twice",
		"--client a/b":                     "--client: a client's name has at most 63 letters",
		"--client ci --jwt HS256":          "--client is for opaque tokens; a JWT names the client by --subject",
		"--subject x":                      "--subject: only for a JWT; add --jwt",
		"--claim a=b --new-signing-key f ": "--claim, --new-signing-key: only for a JWT",
	} {
		t.Run(args, func(t *testing.T) {
			t.Chdir(t.TempDir())
			out, _, err := run(strings.Fields(args)...)
			if exitcode.Of(err) != 2 || !strings.Contains(err.Error(), says) {
				t.Errorf("%v; want %q", err, says)
			}
			if left, _ := os.ReadDir("."); out != "" || len(left) != 0 {
				t.Errorf("printed %q, left %v", out, left)
			}
		})
	}
}

// A key that does not suit is named for what it is, with the fix.
func TestWrongKeys(t *testing.T) {
	p256, p384 := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&p256.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	ed := filepath.Join(t.TempDir(), "ed")
	must(t, "--jwt", "EdDSA", "--new-signing-key", ed)
	edPEM, err := os.ReadFile(ed)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ alg, file, says string }{
		"not PEM":          {"ES256", strings.Repeat("k", 32), "holds no PEM"},
		"empty":            {"EdDSA", "", "holds no PEM"},
		"encrypted":        {"ES256", encode("ENCRYPTED PRIVATE KEY", []byte("x")), "an encrypted key; decrypt it first"},
		"encrypted, old":   {"ES256", "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\neA==\n-----END EC PRIVATE KEY-----\n", "an encrypted key"},
		"rsa":              {"ES256", encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak)), "holds a key that does not fit its algorithm ES256; it is for RS256"},
		"rsa in pkcs8":     {"EdDSA", encode("PRIVATE KEY", pkcs8(t, weak)), "does not fit its algorithm EdDSA; it is for RS256"},
		"weak rsa":         {"RS256", encode("PRIVATE KEY", pkcs8(t, weak)), "RSA key of 1024 bits; it takes at least 2048"},
		"weak rsa, PSS":    {"PS256", encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak)), "RSA key of 1024 bits; it takes at least 2048"},
		"ec for rsa":       {"PS256", encode("PRIVATE KEY", pkcs8(t, p256)), "does not fit its algorithm PS256; it is for ES256"},
		"p-384":            {"ES256", encode("PRIVATE KEY", pkcs8(t, p384)), "does not fit its algorithm ES256; it is for ES384"},
		"ec for eddsa":     {"EdDSA", encode("PRIVATE KEY", pkcs8(t, p256)), "does not fit its algorithm EdDSA; it is for ES256"},
		"ed25519 for es":   {"ES256", string(edPEM), "it is for EdDSA"},
		"public":           {"ES256", encode("PUBLIC KEY", public), "holds a public key; signing needs the private key"},
		"public as secret": {"HS256", encode("PUBLIC KEY", public), "no secret for HS256"},
		"openssh":          {"EdDSA", encode("OPENSSH PRIVATE KEY", []byte("x")), "ssh-keygen"},
		"certificate":      {"ES256", encode("CERTIFICATE", []byte("x")), "signing needs the private key"},
		"torn":             {"ES256", encode("PRIVATE KEY", pkcs8(t, p256)[:40]), "does not parse; copy the file again, whole"},
		"some other PEM":   {"ES256", encode("DH PARAMETERS", []byte("x")), "no private key"},
		"short secret":     {"HS256", strings.Repeat("k", 31), "holds an HMAC secret of 31 bytes; HS256 needs at least 32"},
		"short and blank":  {"HS256", strings.Repeat("k", 31) + "\n", "holds an HMAC secret of 31 bytes; HS256 needs at least 32"},
		"too large":        {"HS256", strings.Repeat("k", 1<<17), "is no key"},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := run("--jwt", c.alg, "--signing-key", write(t, c.file, 0o600))
			if exitcode.Of(err) != 1 || !strings.Contains(err.Error(), c.says) || out != "" {
				t.Errorf("%v; want %q", err, c.says)
			}
			if strings.Contains(err.Error(), "kkkk") {
				t.Error("the error quotes the key")
			}
		})
	}
	for _, secret := range []string{"CANARY-51f0c2-key", "/CANARY/51f0c2", strings.Repeat("CANARY", 1000)} { // given in place of its file
		_, _, err := run("--jwt", "HS256", "--signing-key", secret)
		if exitcode.Of(err) != 1 || !strings.Contains(err.Error(), "give the path of the key's file") || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("no file: %v", err)
		}
	}
}

// openssl writes the curve before the key.
func TestKeyInSEC1(t *testing.T) {
	der, err := x509.MarshalECPrivateKey(ecKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	must(t, "--jwt", "ES256", "--signing-key", write(t, encode("EC PARAMETERS", []byte{6, 0})+encode("EC PRIVATE KEY", der), 0o600))
}

func TestWarnings(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no permission bits")
	}
	secret := strings.Repeat("k", 32)
	if _, errs := must(t, "--jwt", "HS256", "--signing-key", write(t, secret, 0o600)); errs != "" {
		t.Errorf("a warning for nothing: %s", errs)
	}
	open := write(t, secret, 0o600)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, errs := must(t, "--jwt", "HS256", "--signing-key", open); !strings.Contains(errs, "(mode -rw-r--r--); chmod 600") {
		t.Errorf("of a key that all can read: %q", errs)
	}
	if _, errs := must(t, "--jwt", "HS256", "--signing-key", write(t, secret+"\n", 0o600)); errs != "" {
		t.Errorf("of a trailing newline: %q", errs)
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	private, public := write(t, "mine", 0o600), write(t, "mine too", 0o600)
	fresh := filepath.Join(t.TempDir(), "fresh")
	for _, args := range [][]string{
		{"--new-signing-key", private},
		{"--new-signing-key", fresh, "--public-key-out", public},
		{"--new-signing-key", fresh, "--public-jwks-out", public},
	} {
		if out, _, err := run(append([]string{"--jwt", "EdDSA"}, args...)...); exitcode.Of(err) != 1 || out != "" || !strings.Contains(err.Error(), "is not overwritten") {
			t.Errorf("%v: %v", args, err)
		}
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a key was left behind by a refusal")
	}
	must(t, "--jwt", "EdDSA", "--new-signing-key", fresh)
	for _, path := range []string{fresh, public} {
		for _, flag := range []string{"--public-key-out", "--public-jwks-out"} {
			if _, _, err := run("--jwt", "EdDSA", "--signing-key", fresh, flag, path); exitcode.Of(err) != 1 || !strings.Contains(err.Error(), "holds something else") {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if data, _ := os.ReadFile(public); string(data) != "mine too" {
		t.Error("overwritten")
	}
}

func ecKey(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// TestAFailedPublicKeyLeavesNothing: a second try must not find it there.
func TestAFailedPublicKeyLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	private, good := filepath.Join(dir, "key"), filepath.Join(dir, "good")
	for _, public := range []string{filepath.Join(dir, "none", "public"), private} {
		for _, args := range [][]string{{"--public-key-out", public}, {"--public-key-out", good, "--public-jwks-out", public}} {
			if _, _, err := run(append([]string{"--jwt", "ES256", "--new-signing-key", private}, args...)...); err == nil {
				t.Errorf("%s: no error", args)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%s: left behind: %v", args, left)
			}
		}
	}
}
