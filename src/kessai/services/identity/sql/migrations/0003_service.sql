ALTER TABLE api_key ADD COLUMN service text CHECK (length(service) BETWEEN 1 AND 32);
COMMENT ON COLUMN api_key.service IS 'the service in whose name it acts; null: in its own';
