python3 -m sglang.launch_server --model-path /m --host=127.0.0.1>server.log 2>&1
sglang serve --model-path /m &>>"my log"
sglang serve --model-path /m 2>|errors.log --port 30001 > >(tee all.log)
