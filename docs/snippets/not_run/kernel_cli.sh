npm install -g @onkernel/cli
kernel login
kernel deploy main.py
kernel invoke greeter hello --payload '{"name": "Ada"}'
