package jwks

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

const pemBegin = "-----BEGIN "

// pem parses public keys and certificates in PEM (RFC 7468). Only white space may
// surround the blocks, because encoding/pem skips text that it cannot parse, and would
// find a key within any text.
func (p *parser) pem(text []byte, slot rotation.Slot, f form) {
	p.line = 1
	advance := func(rest []byte) {
		p.line += bytes.Count(text[:len(text)-len(rest)], []byte("\n"))
		text = rest
	}
	var certificates []*x509.Certificate
	for n := 0; ; n++ {
		advance(bytes.TrimLeft(text, white))
		switch {
		case len(text) == 0:
			return
		case !bytes.HasPrefix(text, []byte(pemBegin)):
			p.fail("text outside of the PEM blocks; remove it")
			return
		case n > 0 && f == oneKey:
			p.fail("a second PEM block in the place of one key; keep one")
			return
		}
		block, rest := pem.Decode(text)
		if block == nil || bytes.Count(text[:len(text)-len(rest)], []byte(pemBegin)) > 1 {
			p.fail("a PEM block that is broken or cut off; copy it whole, from BEGIN to END")
			return
		}
		material, err := publicKey(block)
		if certificate, ok := material.(*x509.Certificate); ok {
			material = certificate.PublicKey
			if slices.ContainsFunc(certificates, func(c *x509.Certificate) bool { return isIssuer(certificate, c) }) {
				err = errors.New("the issuer of a certificate above, whose key would be accepted, too; keep only the first certificate of a chain")
			}
			certificates = append(certificates, certificate)
		}
		if err != nil {
			p.fail("%v", err)
			return
		}
		if n > 0 && slot == rotation.Current {
			slot = rotation.Listed
		}
		k, err := jwt.NewKey(jwt.KeyConfig{Algorithm: p.o.Algorithm, Material: material})
		p.one(k, err, slot)
		advance(rest)
	}
}

// publicKey returns the key or the *x509.Certificate in a block.
func publicKey(b *pem.Block) (any, error) {
	if strings.HasSuffix(b.Type, "PRIVATE KEY") {
		return nil, errors.New("a private key, which signs; give the public key alone (openssl pkey -pubout)")
	}
	if len(b.Headers) > 0 {
		return nil, errors.New("a PEM block with headers; give the public key without them (openssl pkey -pubout)")
	}
	var material any
	var err error
	switch b.Type {
	case "PUBLIC KEY":
		material, err = x509.ParsePKIXPublicKey(b.Bytes)
	case "RSA PUBLIC KEY":
		material, err = x509.ParsePKCS1PublicKey(b.Bytes)
	case "CERTIFICATE":
		material, err = x509.ParseCertificate(b.Bytes)
	default:
		return nil, errors.New("a PEM block of another kind; PUBLIC KEY, CERTIFICATE and RSA PUBLIC KEY hold a verification key")
	}
	if err != nil {
		return nil, errors.New("a PEM block whose content does not fit its type, or whose key verifies no signatures; make it again")
	}
	return material, nil
}

// isIssuer reports whether c has issued another certificate. Then it is part of a chain,
// and its key signs certificates and not tokens.
func isIssuer(c, other *x509.Certificate) bool {
	return bytes.Equal(other.RawIssuer, c.RawSubject) && !bytes.Equal(other.RawIssuer, other.RawSubject)
}
