package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/xdg-go/scram"

	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
)

// scramSHA256 is SCRAM-SHA-256 and, with plus, SCRAM-SHA-256-PLUS (RFC 5802,
// RFC 7677). The server's last message goes out as one more challenge, since
// SMTP's success reply carries no data (RFC 4954 section 4).
type scramSHA256 struct {
	backend *Embedded
	client  Client
	plus    bool

	conv    *scram.ServerConversation
	account directory.Account
	allowed bool  // the account exists, is active and has keys
	failed  *Step // the lookup's own failure
	proven  bool  // only the client's empty last response is missing
}

func (*scramSHA256) first() Step { return challenge("") }

func (s *scramSHA256) next(ctx context.Context, response []byte, _ bool) Step {
	if s.proven {
		if len(response) != 0 {
			return refuse(s.account.User)
		}
		return Step{Kind: Done, User: s.account.User, UserKnown: true}
	}
	if s.conv == nil && !s.begin(ctx, string(response)) {
		return Step{Kind: Failed}
	}
	reply, err := s.conv.Step(string(response))
	user := s.conv.Username()
	authzid := s.conv.AuthzID()
	switch {
	case s.failed != nil:
		return *s.failed
	case err != nil && user == "":
		return Step{Kind: Failed}
	case err != nil, authzid != "" && authzid != user:
		return refuse(user)
	case !s.conv.Done():
		return challenge(reply)
	case !s.conv.Valid() || !s.allowed:
		return refuse(user)
	}
	s.proven = true
	step := challenge(reply)
	step.User, step.UserKnown = s.account.User, true
	return step
}

// begin opens the conversation that the client's first message asks for; false
// when its channel binding cannot be had.
func (s *scramSHA256) begin(ctx context.Context, first string) bool {
	server, err := scram.SHA256.NewServer(func(user string) (scram.StoredCredentials, error) {
		return s.credentials(ctx, user)
	})
	if err != nil {
		return false
	}
	flag, _, _ := strings.Cut(first, ",")
	kind, bound := strings.CutPrefix(flag, "p=")
	if bound != s.plus {
		return false // RFC 5802 section 6: -PLUS and "p" go together
	}
	switch {
	case s.plus:
		data, ok := s.client.ChannelBinding(kind)
		if !ok {
			return false
		}
		s.conv = server.NewConversationWithChannelBindingRequired(
			scram.ChannelBinding{Type: scram.ChannelBindingType(kind), Data: data})
	case s.client.ChannelBinding != nil:
		// A client that could have used -PLUS but did not see it offered has
		// met somebody in the middle; the library refuses it by this binding.
		s.conv = server.NewConversationWithChannelBinding(
			scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("offered")})
	default:
		s.conv = server.NewConversation()
	}
	return true
}

// credentials finds the keys of an account. Whoever has none gets made-up
// ones, always the same for a name, that no password fits.
func (s *scramSHA256) credentials(ctx context.Context, user string) (scram.StoredCredentials, error) {
	a, stored, ok, failed := s.backend.lookup(ctx, user)
	if failed != nil && failed.Kind == TempFailed {
		s.failed = failed
		return scram.StoredCredentials{}, errors.New(failed.Reason)
	}
	name := strings.ToLower(user)
	salt := s.backend.madeUp("salt", name)[:16]
	keys, able := stored.SCRAM(salt)
	s.account, s.allowed = a, ok && able && failed == nil
	if !s.allowed {
		keys = password.SCRAM{
			Salt:       salt,
			Iterations: password.SCRAMIterations,
			StoredKey:  s.backend.madeUp("stored", name),
			ServerKey:  s.backend.madeUp("server", name),
		}
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: keys.Iterations},
		StoredKey:  keys.StoredKey,
		ServerKey:  keys.ServerKey,
	}, nil
}

// madeUp returns bytes that are always the same for a user while the server
// runs, and unknown to others.
func (e *Embedded) madeUp(what, user string) []byte {
	m := hmac.New(sha256.New, e.key)
	m.Write([]byte(what + "\x00" + user))
	return m.Sum(nil)
}
