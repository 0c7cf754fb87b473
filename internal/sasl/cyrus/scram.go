package cyrus

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"

	"github.com/xdg-go/scram"

	"sekisho/internal/directory/password"
	"sekisho/internal/sasl"
)

// scramSHA256 is SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.
// The server's last message goes out as one more challenge, since SMTP's
// success reply carries no data (RFC 4954 section 4).
type scramSHA256 struct {
	login
	conv    *scram.ServerConversation
	user    string // canonical
	allowed bool   // there are keys
	down    *sasl.Step
	proven  bool // only the client's empty last response is missing
}

func (*scramSHA256) first() sasl.Step { return challenge("") }

func (s *scramSHA256) next(ctx context.Context, response []byte, _ bool) sasl.Step {
	if s.proven {
		if len(response) != 0 {
			return failed(s.user, reasonProtocol)
		}
		return sasl.Step{Kind: sasl.Done, User: s.user, UserKnown: true}
	}
	if s.conv == nil {
		server, err := scram.SHA256.NewServer(func(user string) (scram.StoredCredentials, error) { return s.credentials(ctx, user) })
		if err != nil {
			return failed(nobody, reasonProtocol, err.Error())
		}
		s.user, s.conv = nobody, server.NewConversation()
	}
	reply, err := s.conv.Step(string(response))
	authzid, given := s.backend.canonical(s.conv.AuthzID())
	switch {
	case s.down != nil:
		return *s.down
	case err != nil && s.conv.Username() == "":
		return failed(nobody, reasonProtocol, "Invalid SCRAM-SHA-256 input")
	case err != nil, s.conv.Done() && (!s.conv.Valid() || !s.allowed):
		return failed(s.user, reasonWrong)
	case given && authzid != s.user:
		return failed(authzid, reasonWrong, "Requested identity not authenticated identity")
	}
	step := challenge(reply)
	if s.proven = s.conv.Done(); s.proven {
		step.User, step.UserKnown = s.user, true
	}
	return step
}

// credentials finds the keys of an account. Whoever has none gets made-up
// ones, always the same for a name, that no password fits.
func (s *scramSHA256) credentials(ctx context.Context, name string) (scram.StoredCredentials, error) {
	user, ok := s.backend.canonical(name)
	if !ok || user == "" {
		return scram.StoredCredentials{}, errors.New("no name")
	}
	s.user = user
	store := s.backend.store
	stored, found, down := s.lookup(ctx, user)
	if down != nil {
		s.down = down
		return scram.StoredCredentials{}, errors.New(down.Reason)
	}
	salt := store.madeUp("salt", user)[:16]
	keys, able := stored.SCRAM(salt)
	s.allowed = found && able
	if !s.allowed {
		keys = password.SCRAM{
			Salt: salt, Iterations: password.SCRAMIterations,
			StoredKey: store.madeUp("stored", user), ServerKey: store.madeUp("server", user),
		}
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: keys.Iterations},
		StoredKey:  keys.StoredKey, ServerKey: keys.ServerKey,
	}, nil
}

// madeUp returns bytes that are always the same for a user while the server
// runs, and unknown to others.
func (s *store) madeUp(what, user string) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte(what + "\x00" + user))
	return m.Sum(nil)
}
