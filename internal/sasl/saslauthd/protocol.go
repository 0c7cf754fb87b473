package saslauthd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Request is what a client asks: is this the user's password?
type Request struct {
	Login    string
	Password string
	Service  string
	Realm    string
}

// ErrTooLong means that a string of a request does not fit into its length, or
// is longer than a server takes.
var ErrTooLong = errors.New("saslauthd: request too long")

// strings in the order in which they are sent.
func (r *Request) strings() []*string {
	return []*string{&r.Login, &r.Password, &r.Service, &r.Realm}
}

// Append appends the request to b as it is sent: each string with its length
// before it, two bytes in network order.
func (r Request) Append(b []byte) ([]byte, error) {
	for _, s := range r.strings() {
		if len(*s) > math.MaxUint16 {
			return nil, ErrTooLong
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(*s)))
		b = append(b, *s...)
	}
	return b, nil
}

// ReadRequest reads a request whose strings have at most limit bytes each.
func ReadRequest(from io.Reader, limit int) (Request, error) {
	var r Request
	for _, s := range r.strings() {
		b, err := readString(from, limit)
		if err != nil {
			return Request{}, err
		}
		*s = string(b)
	}
	return r, nil
}

// AppendAnswer appends an answer ("OK", "NO" and a reason) to b as it is sent.
// What does not fit is cut.
func AppendAnswer(b []byte, answer string) []byte {
	answer = answer[:min(len(answer), math.MaxUint16)]
	return append(binary.BigEndian.AppendUint16(b, uint16(len(answer))), answer...)
}

func readString(from io.Reader, limit int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > limit {
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLong, n, limit)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(from, b)
	return b, err
}
