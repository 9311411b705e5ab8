package control_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/control"
)

// loopback is a bus of one service, in this process. A majordomo.Client takes its
// place between processes, and a majordomo.Worker with the service's Handle.
type loopback struct{ service *control.Service }

func (l loopback) Request(ctx context.Context, _ string, frames ...[]byte) ([][]byte, error) {
	return l.service.Handle(ctx, frames).Frames, nil
}

// A service with one command, and a client that gives it.
func Example() {
	position := 0
	service, err := control.NewService("walker", control.ServiceConfig{}, control.Command{
		Name: "step", Summary: "go on by n",
		Do: control.With(func(_ context.Context, _ *control.Request, args *control.DeckStep) (any, error) {
			if args.N < 0 {
				return nil, &control.Error{Code: control.BadRequest, Reason: "there is no way back", Try: "n above 0"}
			}
			position += args.N
			return map[string]int{"at": position}, nil
		}),
	})
	if err != nil {
		panic(err)
	}
	defer service.Close()

	client := control.NewClient(loopback{service})
	var result struct{ At int }
	err = client.Do(context.Background(), "walker", "step", control.DeckStep{N: 5}, &result)
	fmt.Println(result.At, err)

	// The same number is the same command: it is not done again.
	err = client.Again(context.Background(), 1, "walker", "step", control.DeckStep{N: 5}, &result)
	fmt.Println(result.At, err)

	err = client.Do(context.Background(), "walker", "step", control.DeckStep{N: -1}, nil)
	var refused *control.Error
	if errors.As(err, &refused) {
		fmt.Println(int(refused.Code), refused.Reason, "-", refused.Try)
	}
	// Output:
	// 5 <nil>
	// 5 <nil>
	// 400 there is no way back - n above 0
}
