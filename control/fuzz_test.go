package control

import (
	"bytes"
	"context"
	"reflect"
	"testing"
)

func seeds(f *testing.F) {
	for _, v := range vectors() {
		if len(v.frames) == 2 && len(v.frames[1]) < 10_000 {
			f.Add(v.frames[0], v.frames[1])
		}
	}
	f.Add([]byte(Signature), []byte(`{"a":{"a":[[[{"a":null}]]]}}`))
}

// FuzzRequest: parsing never panics, and what is taken is written and read again as
// the same.
func FuzzRequest(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, signature, object []byte) {
		r, err := ParseRequest([][]byte{signature, object})
		if err != nil {
			return
		}
		frames, err := AppendRequest(nil, &r)
		if err != nil {
			t.Fatalf("%s cannot be written: %v", object, err)
		}
		again, err := ParseRequest(frames)
		if err != nil {
			t.Fatalf("%s is written as %s: %v", object, frames[1], err)
		}
		if digestOf(&again) != digestOf(&r) {
			t.Fatalf("%s is written as %s, which is another command", object, frames[1])
		}
		r.Args, again.Args = canonical(r.Args), canonical(again.Args)
		if !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v is written as %+v", r, again)
		}
	})
}

// FuzzReply is the same for replies.
func FuzzReply(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, signature, object []byte) {
		r, err := ParseReply([][]byte{signature, object})
		if err != nil {
			return
		}
		frames, err := AppendReply(nil, &r)
		if err != nil {
			t.Fatalf("%s cannot be written: %v", object, err)
		}
		again, err := ParseReply(frames)
		if err != nil {
			t.Fatalf("%s is written as %s: %v", object, frames[1], err)
		}
		r.Result, again.Result = bytes.Clone(canonical(r.Result)), bytes.Clone(canonical(again.Result))
		if !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v is written as %+v", r, again)
		}
	})
}

// FuzzHandle: whatever comes, a service answers with a reply.
func FuzzHandle(f *testing.F) {
	seeds(f)
	s, err := NewService("fuzz", ServiceConfig{}, Command{Name: "seek", Do: With(func(_ context.Context, _ *Request, args *DeckSeek) (any, error) {
		_, err := ParsePlace(args.To)
		return args, err
	})})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	f.Fuzz(func(t *testing.T, signature, object []byte) {
		request, requestErr := ParseRequest([][]byte{signature, object})
		reply, err := ParseReply(s.Handle(t.Context(), [][]byte{signature, object}).Frames)
		if err != nil {
			t.Fatalf("%s is answered with no reply: %v", object, err)
		}
		if requestErr == nil && (reply.Client != request.Client || reply.Number != request.Number) {
			t.Fatalf("%s is answered as another's: %+v", object, reply)
		}
		if requestErr != nil && reply.Code != BadRequest {
			t.Fatalf("%s is answered with %d", object, reply.Code)
		}
	})
}

// FuzzPlace: what is taken says itself so that it is taken as the same.
func FuzzPlace(f *testing.F) {
	for _, s := range []string{"start", "+10m", "-5s", "@open", "1703514600000000000", "2023-12-25T14:30:00.5Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlace(s)
		if err != nil {
			return
		}
		if again, err := ParsePlace(p.String()); err != nil || again != p {
			t.Fatalf("%q is %+v, which says %q, which is %+v, %v", s, p, p.String(), again, err)
		}
	})
}
