package jwt

import (
	"crypto/ed25519"
	"errors"
	"math/big"
	"slices"
)

// edwardsPoint returns an error if k is not a safe Ed25519 public key: if k is not a
// point on the curve, or is one of the eight points of small order, for which anybody can
// sign. crypto/ed25519 detects the first error only when it verifies a signature, and
// never the second (RFC 8032 section 5.1.7 leaves this check open).
//
// edwardsPoint doubles the point three times, which multiplies it by the cofactor 8, and
// looks for the neutral element, y = 1. It computes y alone. With x² from the curve
// equation -x² + y² = 1 + dx²y² (RFC 8032 section 5.1), the doubled point has y' =
// (y²+x²) / (1-dx²y²).
func edwardsPoint(k ed25519.PublicKey) error {
	if len(k) != ed25519.PublicKeySize {
		return errors.New("an Ed25519 key that is not 32 bytes long")
	}
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	mod := func(z *big.Int) *big.Int { return z.Mod(z, p) }
	div := func(a, b *big.Int) *big.Int { return mod(new(big.Int).Mul(a, new(big.Int).ModInverse(b, p))) }
	d := div(big.NewInt(-121665), big.NewInt(121666))
	one := big.NewInt(1)

	bytes := slices.Clone(k)
	bytes[31] &= 0x7f // clear the sign bit of x
	slices.Reverse(bytes)
	y := new(big.Int).SetBytes(bytes)
	if y.Cmp(p) >= 0 {
		return errNoPoint
	}
	for doubled := range 4 {
		yy := mod(new(big.Int).Mul(y, y))
		dyy := mod(new(big.Int).Mul(d, yy))
		xx := div(mod(new(big.Int).Sub(yy, one)), mod(new(big.Int).Add(dyy, one))) // dy²+1 is never 0, because -1/d is not a square
		if doubled == 0 && new(big.Int).ModSqrt(xx, p) == nil {
			return errNoPoint
		}
		if y.Cmp(one) == 0 {
			return errors.New("an Ed25519 key of small order, for which anybody can sign; make another")
		}
		y = div(mod(new(big.Int).Add(yy, xx)), mod(new(big.Int).Sub(one, new(big.Int).Mul(dyy, xx))))
	}
	return nil
}

var errNoPoint = errors.New("an Ed25519 key that is no point on its curve; make another")
