package jwks

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
)

// pem parses public keys and certificates in PEM (RFC 7468). Only white space may
// surround the blocks, because encoding/pem skips text that it cannot parse, and would
// find a key within any text.
func (p *parser) pem(text []byte, slot rotation.Slot, f form) {
	var certificates []*x509.Certificate
	line := 1
	for n := 0; ; n++ {
		rest := bytes.TrimLeft(text, white)
		line += bytes.Count(text[:len(text)-len(rest)], []byte("\n"))
		p.line = line
		switch {
		case len(rest) == 0:
			return
		case !bytes.HasPrefix(rest, []byte(pemBegin)):
			p.fail("something that is no PEM block stands behind one; keep the blocks alone")
			return
		case n > 0 && f == oneKey:
			p.fail("a second PEM block, where one key stands; keep one")
			return
		}
		block, length := firstBlock(rest)
		if block == nil {
			p.fail("a PEM block that is broken or cut off; copy it whole, from BEGIN to END")
			return
		}
		material, certificate, err := publicKey(block)
		if err == nil && certificate != nil {
			err = chained(certificates, certificate)
			certificates = append(certificates, certificate)
		}
		if err != nil {
			p.fail("%v", err)
			return
		}
		if n > 0 && slot == rotation.Current {
			slot = rotation.Listed
		}
		p.take(jwt.KeyConfig{Algorithm: p.o.Algorithm, Material: material}, slot)
		line += bytes.Count(rest[:length], []byte("\n"))
		text = rest[length:]
	}
}

// firstBlock returns the block at the start of text and its length in bytes. It returns
// nil if text does not start with a whole block.
func firstBlock(text []byte) (*pem.Block, int) {
	end := bytes.Index(text, []byte(pemEnd))
	if end < 0 {
		return nil, 0
	}
	length := len(text)
	if n := bytes.IndexByte(text[end:], '\n'); n >= 0 {
		length = end + n + 1
	}
	if bytes.Count(text[:length], []byte(pemBegin)) != 1 {
		return nil, 0
	}
	block, rest := pem.Decode(text[:length])
	if block == nil || len(bytes.Trim(rest, white)) > 0 {
		return nil, 0
	}
	return block, length
}

// publicKey returns the key in a block, and the certificate if the block is one.
func publicKey(b *pem.Block) (material any, certificate *x509.Certificate, err error) {
	if strings.HasSuffix(b.Type, "PRIVATE KEY") {
		return nil, nil, errors.New("a private key, which signs; give the public key alone (openssl pkey -pubout)")
	}
	if len(b.Headers) > 0 {
		return nil, nil, errors.New("a PEM block with headers; give the public key without them (openssl pkey -pubout)")
	}
	switch b.Type {
	case "PUBLIC KEY":
		material, err = x509.ParsePKIXPublicKey(b.Bytes)
	case "RSA PUBLIC KEY":
		material, err = x509.ParsePKCS1PublicKey(b.Bytes)
	case "CERTIFICATE":
		if certificate, err = x509.ParseCertificate(b.Bytes); err == nil {
			material = certificate.PublicKey
		}
	default:
		return nil, nil, errors.New("a PEM block of another kind; PUBLIC KEY, CERTIFICATE and RSA PUBLIC KEY hold a verification key")
	}
	if err != nil {
		return nil, nil, errors.New("a PEM block whose content is not what it says, or of a kind that verifies no signatures; make it again")
	}
	return material, certificate, nil
}

// chained returns an error if c is the issuer of a certificate in before. Such a
// certificate is part of a chain, and its key signs certificates and not tokens.
func chained(before []*x509.Certificate, c *x509.Certificate) error {
	for _, b := range before {
		if bytes.Equal(b.RawIssuer, c.RawSubject) && !bytes.Equal(b.RawIssuer, b.RawSubject) {
			return errors.New("the issuer of a certificate above, whose key would be accepted too; keep the first certificate of a chain alone")
		}
	}
	return nil
}
